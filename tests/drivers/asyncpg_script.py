"""asyncpg through a transaction-mode pooler, its statement cache on: every query is a named prepared statement."""

import asyncio
import os

import asyncpg


async def connect():
    return await asyncpg.connect(ssl=False)


async def worker(number):
    connection = await connect()
    prepared = await connection.prepare("SELECT $1::text || '!'")
    for count in range(60):
        marker = f"{number}/{count}"
        assert await connection.fetchval("SELECT $1::text", marker) == marker
        assert await prepared.fetchval(marker) == marker + "!"
        assert await connection.fetchval(f"SELECT {number} * 1000 + {count % 5}") == number * 1000 + count % 5
        if count % 10 == 0:
            async with connection.transaction():
                await connection.execute("SELECT set_config('sluice.owner', $1, true)", marker)
                assert await connection.fetchval("SHOW sluice.owner") == marker
                rows = [row["n"] async for row in connection.cursor("SELECT generate_series(1, 120) AS n")]
                assert rows == list(range(1, 121))
        if count % 15 == 0:
            try:
                await connection.execute("SELECT no_such_column")
                raise AssertionError("an error was expected")
            except asyncpg.UndefinedColumnError:
                pass
    await connection.close()


async def rest():
    connection = await connect()
    await connection.execute("CREATE TABLE many (n int, t text)")
    await connection.executemany("INSERT INTO many VALUES ($1, $2)", [(n, str(n)) for n in range(500)])
    await connection.copy_records_to_table("many", records=[(n, "copied") for n in range(500, 1000)])
    assert await connection.fetchval("SELECT count(*) FROM many") == 1000
    try:
        await asyncio.wait_for(connection.execute("SELECT pg_sleep(60)"), timeout=0.2)
        raise AssertionError("the query was not cancelled")
    except asyncio.TimeoutError:
        pass
    assert await connection.fetchval("SELECT 'after'") == "after"
    await connection.execute("DROP TABLE many")
    await connection.close()

    async with asyncpg.create_pool(min_size=2, max_size=8, ssl=False) as pool:
        values = await asyncio.gather(*(pool.fetchval("SELECT $1::int", n) for n in range(200)))
        assert values == list(range(200))


async def main():
    await asyncio.gather(*(worker(number) for number in range(8)))
    await rest()
    print("all assertions held")


assert "PGHOST" in os.environ
asyncio.run(main())
