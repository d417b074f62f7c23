"""psycopg 3 through a transaction-mode pooler: more clients than server connections, automatic preparation on."""

import threading

import psycopg
from psycopg import errors


def connect():
    connection = psycopg.connect(autocommit=True)
    connection.prepare_threshold = 2
    return connection


def worker(number, failures):
    try:
        with connect() as connection:
            for count in range(60):
                marker = f"{number}/{count}"
                assert connection.execute("SELECT %s::text", (marker,)).fetchone() == (marker,)
                assert connection.execute("SELECT %s::int + 1", (count,)).fetchone() == (count + 1,)
                if count % 10 == 0:
                    with connection.transaction():
                        connection.execute("SELECT set_config('sluice.owner', %s, true)", (marker,))
                        assert connection.execute("SHOW sluice.owner").fetchone() == (marker,)
                if count % 15 == 0:
                    try:
                        connection.execute("SELECT no_such_column")
                        raise AssertionError("an error was expected")
                    except errors.UndefinedColumn:
                        pass
    except BaseException as failure:  # noqa: BLE001 - reported by the main thread
        failures.append((number, failure))


failures = []
threads = [threading.Thread(target=worker, args=(number, failures)) for number in range(8)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
assert not failures, failures

with connect() as connection:
    with connection.pipeline():
        cursors = [connection.execute("SELECT %s::int", (number,)) for number in range(100)]
        assert [cursor.fetchone()[0] for cursor in cursors] == list(range(100))
    connection.execute("CREATE TABLE many (n int, t text)")
    connection.cursor().executemany("INSERT INTO many VALUES (%s, %s)", [(n, str(n)) for n in range(500)])
    assert connection.execute("SELECT count(*), sum(n) FROM many").fetchone() == (500, 124750)
    with connection.cursor().copy("COPY many FROM STDIN") as copy:
        for number in range(500, 1000):
            copy.write_row((number, "copied"))
    with connection.cursor().copy("COPY (SELECT n FROM many ORDER BY n) TO STDOUT") as copy:
        assert sum(1 for _ in copy.rows()) == 1000
    with connection.transaction(), connection.cursor(name="server_side") as cursor:
        cursor.execute("SELECT n FROM many ORDER BY n")
        assert [row[0] for row in cursor] == list(range(1000))
    assert connection.execute("SELECT %b::int8", (2**40,), binary=True).fetchone() == (2**40,)
    connection.execute("DROP TABLE many")

with connect() as connection:
    timer = threading.Timer(0.2, connection.cancel)
    timer.start()
    try:
        connection.execute("SELECT pg_sleep(60)")
        raise AssertionError("the query was not cancelled")
    except errors.QueryCanceled:
        pass
    assert connection.execute("SELECT 'after'").fetchone() == ("after",)

print("all assertions held")
