"""Python's requests through a gateway: a session that keeps its connection, streams both ways, refusals."""

import os

import requests

BASE = "http://" + os.environ["GATEWAY"]


def pieces():
    for number in range(100):
        yield f"{number};".encode()


def main():
    session = requests.Session()
    for number in range(100):
        answer = session.get(f"{BASE}/api/{number}", timeout=30)
        assert (answer.status_code, answer.text) == (200, f"GET /api/{number}"), answer.text
    body = os.urandom(3_000_000)
    assert session.post(f"{BASE}/echo", data=body, timeout=30).content == body
    chunked = session.put(f"{BASE}/echo", data=pieces(), timeout=30)
    assert chunked.content == b"".join(pieces()), chunked.content
    assert session.get(f"{BASE}/numbers", timeout=30).text.split() == [str(n) for n in range(200)]
    assert session.head(f"{BASE}/api", timeout=30).status_code == 200
    few = [session.get(f"{BASE}/few", timeout=30) for _ in range(3)]
    assert [answer.status_code for answer in few] == [200, 503, 503], few
    assert few[1].json()["detail"] == "Request queue is full", few[1].text
    assert int(few[1].headers["Retry-After"]) >= 1
    print("all assertions held")


main()
