"""Upgrade requests by hand: plain, unusual but good, and broken ones; knows bytes, and no verdict on them."""

from __future__ import annotations

from hypothesis import strategies as st

__all__ = ["CLIENTS", "ENDS", "KEY", "ODD", "PLAIN", "head", "mutated"]

KEY = "dGhlIHNhbXBsZSBub25jZQ=="  # the one of RFC 6455 §1.3

FIELDS = {
    "Host": "server.example.com",
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Key": KEY,
    "Sec-WebSocket-Version": "13",
}


def head(*more: str, line: str = "GET /chat HTTP/1.1", end: str = "\r\n", **changed: str | None) -> bytes:
    """A good head; ``Sec_WebSocket_Key="x"`` changes a field, ``None`` takes it out, *more* are lines added."""
    fields: dict[str, str | None] = dict(FIELDS)
    fields.update({name.replace("_", "-"): value for name, value in changed.items()})
    lines = [line, *(f"{name}: {value}" for name, value in fields.items() if value is not None), *more]
    return end.join([*lines, "", ""]).encode("latin-1")


#: As they are on the wire today.
CLIENTS = {
    "firefly": head(line="GET /chat HTTP/1.1", User_Agent="firefly-ws"),
    "websockets": head(
        "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits",
        "User-Agent: Python/3.11 websockets/15.0",
        Host="127.0.0.1:8090",
    ),
    "aiohttp": head("Accept: */*", "Accept-Encoding: gzip, deflate", "User-Agent: Python/3.11 aiohttp/3.13.0"),
    "ws of npm": head(Sec_WebSocket_Extensions="permessage-deflate; client_max_window_bits"),
    "Chromium": head(
        "Pragma: no-cache",
        "Cache-Control: no-cache",
        "User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0 Safari/537.36",
        "Origin: http://localhost:8090",
        "Accept-Encoding: gzip, deflate, br, zstd",
        "Accept-Language: en-GB,en;q=0.9",
        "Cookie: a=b; c=d",
        "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits",
        Host="localhost:8090",
        line="GET /room/garden?x=1&y=%20 HTTP/1.1",
    ),
    "Firefox": head(
        "Accept: */*",
        "Origin: https://server.example.com",
        "Sec-WebSocket-Extensions: permessage-deflate",
        "Sec-WebSocket-Protocol: chat, superchat",
        "Sec-Fetch-Dest: empty",
        Connection="keep-alive, Upgrade",
        line="GET /room/garden HTTP/1.1",
    ),
    "Safari": head(
        "Origin: https://server.example.com",
        "Pragma: no-cache",
        "Cache-Control: no-cache",
        "Sec-WebSocket-Extensions: permessage-deflate",
        "User-Agent: Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 Version/17.4 Safari/605.1.15",
        "Accept-Encoding: gzip, deflate",
        line="GET /room/garden HTTP/1.1",
    ),
    "Safari of old": head(
        "Origin: https://server.example.com",
        "Sec-WebSocket-Extensions: x-webkit-deflate-frame",
        line="GET /room/garden HTTP/1.1",
    ),
    "curl": head("User-Agent: curl/8.5.0", "Accept: */*", Host="127.0.0.1:8090", line="GET / HTTP/1.1"),
}

#: All that a glance is to recognise.
PLAIN = {
    **CLIENTS,
    "no space behind a colon": head().replace(b": ", b":"),
    "tabs and spaces around values": head().replace(b": ", b":\t  ").replace(b"\r\nUp", b" \t \r\nUp"),
    "names in lower case": head().replace(b"Sec-WebSocket", b"sec-websocket").replace(b"Host", b"host"),
    "names in upper case": b"".join(
        line if b"GET" in line or b":" not in line else line.split(b":")[0].upper() + b":" + line.split(b":", 1)[1]
        for line in head().splitlines(keepends=True)
    ),
    "another order": head(Upgrade=None, Host=None).replace(b"\r\nConn", b"\r\nUpgrade: WebSocket\r\nHost: a.b\r\nConn"),
    "a list of connection options": head(Connection=" ,keep-alive ,, UPGRADE\t,"),
    "a port": head(Host="server.example.com:8080"),
    "a port of no digits": head(Host="server.example.com:"),
    "an address": head(Host="127.0.0.1"),
    "a name with an underscore": head(Host="my_service"),
    "the longest host": head(Host="h" * 255),
    "an empty value": head("X-Empty:", "X-Blank:   "),
    "latin-1 in a value": head("X-Name: caf\xe9 \xff\x80"),
    "a tab within a value": head("X-Tab: a\tb"),
    "a field twice": head("X-Twice: a", "X-Twice: b"),
    "every character of a token": head("!#$%&'*+-.^_`|~09AZaz: x"),
    "every character of a target": head(
        line="GET /" + "".join(chr(code) for code in range(0x21, 0x7F) if chr(code) != "#") + " HTTP/1.1"
    ),
    "two questions": head(line="GET /chat?a?b HTTP/1.1"),
    "an empty query": head(line="GET /chat? HTTP/1.1"),
    "two slashes": head(line="GET //chat HTTP/1.1"),
    "percent signs": head(line="GET /room/%2Fa%zz HTTP/1.1"),
    "an Origin of its own": head("Origin: http://SERVER.example.com"),
    "an Origin of its own by TLS": head("Origin: HTTPS://server.example.com"),
    "an Origin with the default port": head("Origin: http://server.example.com:80"),
    "another Origin": head("Origin: https://evil.example"),
    "an opaque Origin": head("Origin: null"),
    "an empty Origin": head("Origin:"),
    "an Origin of latin-1": head("Origin: http://caf\xe9.example"),
    "an Origin that ends early": head("Origin: http://server.example.co"),
    "an Origin that goes on": head("Origin: http://server.example.com/"),
    "an Origin of another scheme": head("Origin: ftps://server.example.com"),
    "an empty list of subprotocols": head("Sec-WebSocket-Protocol: ,"),
    "subprotocols that are no tokens": head("Sec-WebSocket-Protocol: a b"),
    "one subprotocol twice": head("Sec-WebSocket-Protocol: chat, chat"),
    "an unknown subprotocol": head("Sec-WebSocket-Protocol: nobody", line="GET /room/garden HTTP/1.1"),
    "malformed extensions": head('Sec-WebSocket-Extensions: a; b="', line="GET /room/garden HTTP/1.1"),
    "no extension": head("Sec-WebSocket-Extensions:"),
    "an unknown extension": head("Sec-WebSocket-Extensions: x-unknown; a=1"),
    "a parameter with a line feed": head(line="GET /room/a%0Ab HTTP/1.1"),
    "nothing at its path": head(line="GET /nowhere HTTP/1.1"),
    "HTTP at its path": head(line="GET /page HTTP/1.1"),
    "HTTP and a websocket": head(line="GET /both HTTP/1.1"),
    "a path that is refused": head(line="GET /refused HTTP/1.1"),
    "a path whose hook raises": head(line="GET /raises HTTP/1.1"),
    "a path with a slow hook": head(line="GET /slow HTTP/1.1"),
    "a path with a slow refusal": head(line="GET /slowly-refused HTTP/1.1"),
    "a path of a selector that raises": head("Sec-WebSocket-Protocol: raises", line="GET /chosen HTTP/1.1"),
    "a path of a selector": head("Sec-WebSocket-Protocol: a, b", line="GET /chosen HTTP/1.1"),
}

#: Good or not, a glance is to leave them alone.
ODD = {
    "an absolute target": head(line="GET http://server.example.com/chat HTTP/1.1"),
    "an absolute target of another host": head(line="GET http://other.example/chat HTTP/1.1"),
    "a star": head(line="GET * HTTP/1.1"),
    "an authority": head(line="CONNECT server.example.com:80 HTTP/1.1"),
    "HTTP/1.0": head(line="GET /chat HTTP/1.0"),
    "HTTP/1.2": head(line="GET /chat HTTP/1.2"),
    "HTTP/2.0": head(line="GET /chat HTTP/2.0"),
    "HTTP/0.9": head(line="GET /chat"),
    "http in lower case": head(line="GET /chat http/1.1"),
    "POST": head(line="POST /chat HTTP/1.1"),
    "HEAD": head(line="HEAD /chat HTTP/1.1"),
    "a method nobody knows": head(line="GETS /chat HTTP/1.1"),
    "a method in lower case": head(line="get /chat HTTP/1.1"),
    "two spaces before the target": head(line="GET  /chat HTTP/1.1"),
    "two spaces behind it": head(line="GET /chat  HTTP/1.1"),
    "a tab in the first line": head(line="GET\t/chat HTTP/1.1"),
    "a space at the line's end": head(line="GET /chat HTTP/1.1 "),
    "a space in the target": head(line="GET /ch at HTTP/1.1"),
    "a fragment": head(line="GET /chat#part HTTP/1.1"),
    "latin-1 in the target": head(line="GET /caf\xe9 HTTP/1.1"),
    "a control character in the target": head(line="GET /ch\x7fat HTTP/1.1"),
    "a null in the target": head(line="GET /ch\0at HTTP/1.1"),
    "bare line feeds": head(end="\n"),
    "one bare line feed": head().replace(b"\r\nUpgrade", b"\nUpgrade"),
    "a bare line feed at the end": head()[:-2] + b"\n",
    "a bare carriage return": head().replace(b"\r\nUpgrade", b"\rUpgrade"),
    "two carriage returns": head().replace(b"\r\nUpgrade", b"\r\r\nUpgrade"),
    "a folded value": head("X-Folded: a", " b"),
    "a value folded by a tab": head("X-Folded: a", "\tb"),
    "a folded Host": head(Host="server.example.com\r\n x"),
    "a first field that is folded": head().replace(b"Host", b" Host"),
    "a space before the colon": head().replace(b"Host:", b"Host :"),
    "a name of nothing": head(": x"),
    "a line without a colon": head("X-Nothing"),
    "a space in a name": head("X Y: z"),
    "latin-1 in a name": head("X-caf\xe9: z"),
    "a null in a value": head("X: a\0b"),
    "a control character in a value": head("X: a\x01b"),
    "a delete in a value": head("X: a\x7fb"),
    "no Host": head(Host=None),
    "an empty Host": head(Host=""),
    "Host twice": head("Host: server.example.com"),
    "two Hosts": head("host: other.example"),
    "a Host with a path": head(Host="server.example.com/x"),
    "a Host with a user": head(Host="me@server.example.com"),
    "a Host of two": head(Host="a.example, b.example"),
    "a Host with a space": head(Host="server example.com"),
    "a Host of an IPv6 address": head(Host="[::1]:8080"),
    "a Host of a port alone": head(Host=":80"),
    "a Host of two ports": head(Host="a:80:80"),
    "a Host with another sign": head(Host="a!b"),
    "a Host of latin-1": head(Host="caf\xe9.example"),
    "a Host longer than any name": head(Host="h" * 256),
    "a Host longer than we look at": head(Host="h" * 300),
    "no Upgrade": head(Upgrade=None),
    "an empty Upgrade": head(Upgrade=""),
    "Upgrade twice": head("Upgrade: websocket"),
    "another Upgrade": head(Upgrade="h2c"),
    "a list of upgrades": head(Upgrade="h2c, websocket"),
    "an Upgrade with a version": head(Upgrade="websocket/13"),
    "an Upgrade nearly right": head(Upgrade="websockes"),
    "no Connection": head(Connection=None),
    "an empty Connection": head(Connection=""),
    "another Connection": head(Connection="keep-alive"),
    "a Connection nearly right": head(Connection="upgrade2, upgrad, xupgrade, up grade"),
    "Connection twice": head("Connection: keep-alive"),
    "no key": head(Sec_WebSocket_Key=None),
    "a key twice": head(f"Sec-WebSocket-Key: {KEY}"),
    "an empty key": head(Sec_WebSocket_Key=""),
    "a short key": head(Sec_WebSocket_Key=KEY[:-4]),
    "a long key": head(Sec_WebSocket_Key="AAAA" + KEY),
    "a key of 17 bytes": head(Sec_WebSocket_Key="A" * 23 + "="),
    "a key of 18 bytes": head(Sec_WebSocket_Key="A" * 24),
    "a key without its padding": head(Sec_WebSocket_Key=KEY[:-2] + "AA"),
    "a key padded in its middle": head(Sec_WebSocket_Key="=" + KEY[1:]),
    "a key with another alphabet": head(Sec_WebSocket_Key="_" + KEY[1:]),
    "a key with a space": head(Sec_WebSocket_Key=KEY[:5] + " " + KEY[6:]),
    "a key of latin-1": head(Sec_WebSocket_Key="\xe9" + KEY[1:]),
    "no version": head(Sec_WebSocket_Version=None),
    "an empty version": head(Sec_WebSocket_Version=""),
    "version 8": head(Sec_WebSocket_Version="8"),
    "version 14": head(Sec_WebSocket_Version="14"),
    "version 23": head(Sec_WebSocket_Version="23"),
    "version 013": head(Sec_WebSocket_Version="013"),
    "two versions": head(Sec_WebSocket_Version="13, 8"),
    "the version twice": head("Sec-WebSocket-Version: 13"),
    "Origin twice": head("Origin: http://server.example.com", "Origin: http://server.example.com"),
    "extensions on two lines": head("Sec-WebSocket-Extensions: a", "Sec-WebSocket-Extensions: permessage-deflate"),
    "subprotocols on two lines": head("Sec-WebSocket-Protocol: a", "Sec-WebSocket-Protocol: chat"),
    "a body": head("Content-Length: 5"),
    "a body of nothing": head("Content-Length: 0"),
    "a length that is none": head("Content-Length: x"),
    "two lengths": head("Content-Length: 0", "Content-Length: 0"),
    "a body in chunks": head("Transfer-Encoding: chunked"),
    "an empty transfer encoding": head("Transfer-Encoding:"),
    "a length with chunks": head("Content-Length: 0", "Transfer-Encoding: chunked"),
    "an empty line before it": b"\r\n" + head(),
    "two empty lines before it": b"\r\n\r\n" + head(),
    "a space before it": b" " + head(),
    "no upgrade at all": b"GET /page HTTP/1.1\r\nHost: a\r\n\r\n",
    "no upgrade where there is none": b"GET /nowhere HTTP/1.1\r\nHost: a\r\n\r\n",
    "no upgrade where there is a websocket alone": b"GET /chat HTTP/1.1\r\nHost: a\r\n\r\n",
    "a body where there is HTTP": b"POST /both HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nab",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(120)),
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(100),
    "noise": bytes(range(256)),
}

#: What may follow in the same packet: frames, half a frame, an empty line, another request.
ENDS = (
    b"",
    b"\x81\x82\x00\x00\x00\x00hi",
    b"\x81\x82\x00\x00\x00\x00hi\x82\x81\x01\x02\x03\x04\x05",
    b"\x81\xfe",
    b"\x81\x02hi",
    b"\r\n",
    b"GET /page HTTP/1.1\r\nHost: a\r\n\r\n",
)


PIECES = [
    b"\r", b"\n", b"\r\n", b"\r\n ", b"\r\n\r\n", b" ", b"\t", b":", b",", b"\0", b"\x80", b"#", b"?", b"/", b"=",
    b"Host: a\r\n", b"Origin: http://server.example.com\r\n", b"Connection: close\r\n", b"Upgrade: h2c\r\n",
    b"Content-Length: 0\r\n", b"Transfer-Encoding: chunked\r\n", b"Sec-WebSocket-Version: 13\r\n", b"X:\r\n",
]  # fmt: skip


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """A request by hand in which pieces are lost, added, doubled or moved."""
    data = draw(st.sampled_from([*PLAIN.values(), *ODD.values()]))
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(data)))
        kind = draw(st.sampled_from(["lose", "add", "double", "swap", "case"]))
        if kind == "lose":
            data = data[:at] + data[at + draw(st.integers(1, 4)) :]
        elif kind == "add":
            data = data[:at] + draw(st.sampled_from(PIECES)) + data[at:]
        elif kind == "case":
            data = data[:at] + data[at:].swapcase()
        else:
            lines = data.split(b"\r\n")
            one, other = draw(st.integers(0, len(lines) - 1)), draw(st.integers(0, len(lines) - 1))
            if kind == "double":
                lines.insert(one, lines[other])
            else:
                lines[one], lines[other] = lines[other], lines[one]
            data = b"\r\n".join(lines)
    return data + draw(st.sampled_from(ENDS))
