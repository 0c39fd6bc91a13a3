//! Heads, and what is read from them.

/// What comes, and what is read: status, body, whether the connection is kept, other fields.
/// `HTTP/1.1 200 OK`, each line and the empty line end with CR LF, where only lines are given.
pub const FIELDS: &[(&str, &str)] = &[
    ("Content-Length: 0", "200 0 keep"),
    (
        "Content-Length: 0\r\nProxy-Authenticate: Basic realm=\"x\"",
        "200 0 keep asks",
    ),
    (
        "Content-Length: 0\r\nX-Squid-Error: ERR_DNS_FAIL 0\r\nProxy-Status: p",
        "200 0 keep says=ERR_DNS_FAIL 0",
    ),
    (
        "X-Smokescreen-Error:\r\nproxy-status: a\r\n b\r\nContent-Length: 0",
        "200 0 keep says=a b",
    ),
    ("content-length:5", "200 5 keep"),
    ("CONTENT-LENGTH: \t 5 \t ", "200 5 keep"),
    ("Content-Length : 0", "200 0 keep"),
    ("Content-Length\t: 7", "200 7 keep"),
    ("Content-Length: 0005", "200 5 keep"),
    ("Content-Length: 5, 5", "200 5 keep"),
    ("Content-Length: 5\r\nContent-Length: 5", "200 5 keep"),
    ("Content-Length:\r\n 5", "200 5 keep"),
    (
        "Content-Length: 9223372036854775807",
        "200 9223372036854775807 keep",
    ),
    ("Content-Length: 5, 6", "200 none drop"),
    ("Content-Length: 5\r\nContent-Length: 6", "200 none drop"),
    (
        "Content-Length: 5\r\nContent-Length: 5\r\nContent-Length: 6\r\nContent-Length: 5",
        "200 none drop",
    ),
    (
        "Content-Length: 5\r\nContent-Length: 6\r\nConnection: close",
        "200 close drop",
    ),
    ("Content-Length: many", "200 none drop"),
    ("Content-Length: -1", "200 none drop"),
    ("Content-Length: +1", "200 none drop"),
    ("Content-Length: 1.0", "200 none drop"),
    ("Content-Length: 0x10", "200 none drop"),
    ("Content-Length: 1 2", "200 none drop"),
    ("Content-Length: 1\r\n 2", "200 none drop"),
    ("Content-Length: 1\0", "200 none drop"),
    ("Content-Length: 5,", "200 none drop"),
    ("Content-Length:", "200 none drop"),
    ("Content-Length: 00000000000000000005", "200 none drop"),
    ("Content-Length: 18446744073709551616", "200 none drop"),
    ("Content-Length: 99999999999999999999999", "200 none drop"),
    ("Content-Lengths: 5\r\nX-Content-Length: 6", "200 none drop"),
    ("Transfer-Encoding: chunked", "200 chunked keep"),
    ("transfer-encoding: CHUNKED", "200 chunked keep"),
    ("Transfer-Encoding: ,chunked ,", "200 chunked keep"),
    ("Transfer-Encoding:\r\n\tchunked", "200 chunked keep"),
    ("Transfer-Encoding: gzip, chunked", "200 chunked drop"),
    (
        "Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked",
        "200 chunked drop",
    ),
    ("Transfer-Encoding: chunked, chunked", "200 none drop"),
    (
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        "200 none drop",
    ),
    ("Transfer-Encoding: chunked, gzip", "200 none drop"),
    ("Transfer-Encoding: chunked, gzip, chunked", "200 none drop"),
    ("Transfer-Encoding: chunked;x=1", "200 none drop"),
    ("Transfer-Encoding: chunked\x0b", "200 none drop"),
    ("Transfer-Encoding: identity", "200 none drop"),
    (
        "Transfer-Encoding: gzip\r\nConnection: close",
        "200 close drop",
    ),
    ("Transfer-Encoding:", "200 none drop"),
    ("Transfer-Encoding: ,\r\nContent-Length: 5", "200 none drop"),
    (
        "Transfer-Encoding: chunked\r\nContent-Length: 5",
        "200 none drop",
    ),
    (
        "Content-Length: x\r\nTransfer-Encoding: chunked",
        "200 none drop",
    ),
    (
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\nConnection: close",
        "200 close drop",
    ),
    ("Content-Length: 0\r\nConnection: close", "200 0 drop"),
    ("Content-Length: 0\r\nConnection: Keep-Alive", "200 0 keep"),
    (
        "Content-Length: 0\r\nConnection: keep-alive, CLOSE",
        "200 0 drop",
    ),
    (
        "Content-Length: 0\r\nConnection: close\r\nConnection: keep-alive",
        "200 0 drop",
    ),
    (
        "Content-Length: 0\r\nConnection: x,\r\n close",
        "200 0 drop",
    ),
    (
        "Content-Length: 0\r\nConnection: closed, xclose",
        "200 0 keep",
    ),
    ("Content-Length: 0\r\nConnection : close", "200 0 drop"),
    ("Content-Length: 0\r\nProxy-Connection: close", "200 0 keep"),
    (
        "Content-Length: 0\r\nKeep-Alive: timeout=5, max=100",
        "200 0 keep rest=5s",
    ),
    (
        "Content-Length: 0\r\nKeep-Alive: max=9;Timeout = 7",
        "200 0 keep rest=7s",
    ),
    (
        "Content-Length: 0\r\nKeep-Alive: timeout=\"8\"",
        "200 0 keep rest=8s",
    ),
    (
        "Content-Length: 0\r\nKeep-Alive: timeout=99999999999",
        "200 0 keep rest=86400s",
    ),
    ("Content-Length: 0\r\nKeep-Alive: timeout=-1", "200 0 keep"),
    ("Content-Length: 0\r\nKeep-Alive: 300", "200 0 keep"),
    (
        "Content-Length: 0\r\nKeep-Alive: ü\r\nKeep-Alive: timeout=3",
        "200 0 keep rest=3s",
    ),
    ("Content-Length: 0\r\nRetry-After: 5", "200 0 keep retry=5"),
    (
        "Content-Length: 0\r\nRetry-After: 2\r\nRETRY-AFTER : 5",
        "200 0 keep retry=2, 5",
    ),
    ("Content-Length: 0\r\nRetry-After: 5\x01", "200 0 keep"),
    ("Content-Length: 0\r\nRetry-After:", "200 0 keep"),
    (
        "Content-Length: 0\r\nRetry-After: Wed, 25 Nov\r\n 2026 01:02:00 GMT",
        "200 0 keep retry=Wed, 25 Nov 2026 01:02:00 GMT",
    ),
    (
        "Content-Length: 0\r\nDate: a\r\nDate: b",
        "200 0 keep date=a",
    ),
    (
        "Content-Length: 0\r\nDate: \u{e9}\r\nDate: b",
        "200 0 keep date=b",
    ),
    (
        "Set-Cookie: a=1;\r\n path=/\r\nContent-Length: 0",
        "200 0 keep",
    ),
    (
        "Set-Cookie: a\r\n\tContent-Length: 9\r\nContent-Length: 0",
        "200 0 keep",
    ),
    (" Content-Length: 9\r\nContent-Length: 0", "200 0 keep"),
    ("Content-Length: 0\r\nno colon\r\n 5", "200 0 keep"),
    ("Content-Length: 0\r\n:\r\n: x\r\n::", "200 0 keep"),
    (
        "Content-Length: 0\r\nX[A]: 1\r\nX Y: 2\r\n\"Q\": 3",
        "200 0 keep",
    ),
    ("Content-Length: 0\r\nX: \0\x01\x7f\u{fffd}", "200 0 keep"),
    ("Content-Length: 0\r\nX: a\rContent-Length: 9", "200 0 keep"),
    ("\0Content-Length: 9\r\nContent-Length: 0", "200 0 keep"),
    (
        "Content-Length: 0\r\nSet-Cookie: ___utmv=\x01abc",
        "200 0 keep",
    ),
    (
        "Content-Length: 0\r\nContent-Type: text/plain\r\nServer: x\r\nVia: y",
        "200 0 keep",
    ),
    ("X: 1", "200 none drop"),
    ("X: 1\r\nConnection: close", "200 close drop"),
];

/// The same for whole heads; the body that follows begins with `|`, where there is one.
pub const HEADS: &[(&str, &str)] = &[
    ("HTTP/1.1 200 OK\r\n\r\n", "200 none drop"),
    ("HTTP/1.1 200\r\nContent-Length: 2\r\n\r\n|x", "200 2 keep"),
    ("HTTP/1.1 200 \r\nContent-Length: 0\r\n\r\n", "200 0 keep"),
    (
        "HTTP/1.1  200  OK\r\nContent-Length: 0\r\n\r\n",
        "200 0 keep",
    ),
    (
        "HTTP/1.1\t200\tOK\r\nContent-Length: 0\r\n\r\n",
        "200 0 keep",
    ),
    ("http/1.1 201 ok\r\nContent-Length: 0\r\n\r\n", "201 0 keep"),
    ("HTTP/1.2 200 OK\r\nContent-Length: 0\r\n\r\n", "200 0 keep"),
    (
        "HTTP/1.10 200 OK\r\nContent-Length: 0\r\n\r\n",
        "200 0 keep",
    ),
    ("HTTP/1.1 200OK\r\nContent-Length: 0\r\n\r\n", "200 0 keep"),
    (
        "HTTP/1.1 200 \u{e4}\0\x01\u{fffd}\r\nContent-Length: 0\r\n\r\n",
        "200 0 keep",
    ),
    (
        "HTTP/1.1 200 OK\rX: 1\r\nContent-Length: 0\r\n\r\n",
        "200 0 keep",
    ),
    ("HTTP/1.1 200 OK\nContent-Length: 0\n\n|x", "200 0 keep"),
    (
        "HTTP/1.1 200 OK\r\nContent-Length: 0\n\r\n|\n",
        "200 0 keep",
    ),
    (
        "HTTP/1.1 200 OK\r\r\nContent-Length: 0\r\r\n\r\r\n|x",
        "200 0 keep",
    ),
    (
        "\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        "200 0 keep",
    ),
    (
        " \n\tHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        "200 0 keep",
    ),
    ("HTTP/1.1 999 X\r\nContent-Length: 0\r\n\r\n", "999 0 keep"),
    ("HTTP/1.1 500 X\r\n\r\n|text", "500 close drop"),
    (
        "HTTP/1.1 410 Gone\r\nContent-Length: 4\r\n\r\n|gone",
        "410 4 keep",
    ),
    (
        "HTTP/1.1 503 X\r\nContent-Length: 0\r\nRetry-After: 7\r\nDate: d\r\n\r\n",
        "503 0 keep retry=7 date=d",
    ),
    ("HTTP/1.0 200 OK\r\n\r\n|text", "200 close drop"),
    (
        "HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\n|hello",
        "200 5 drop",
    ),
    (
        "HTTP/1.0 200 OK\r\nContent-Length: 5\r\nConnection: keep-alive\r\n\r\n",
        "200 5 keep",
    ),
    (
        "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n\r\n",
        "200 none drop",
    ),
    (
        "HTTP/1.0 200 OK\r\nContent-Length: 5\r\nConnection: keep-alive, close\r\n\r\n",
        "200 5 drop",
    ),
    (
        "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: keep-alive\r\n\r\n",
        "200 chunked drop",
    ),
    ("HTTP/1 200 OK\r\nContent-Length: 0\r\n\r\n", "200 0 drop"),
    ("HTTP/2 200 OK\r\nContent-Length: 0\r\n\r\n", "200 0 drop"),
    ("HTTP/2.0 204 X\r\n\r\n", "204 none drop"),
    ("HTTP/0.9 200 OK\r\nContent-Length: 0\r\n\r\n", "200 0 drop"),
    ("HTTP/1.1 204 X\r\n\r\n|late", "204 none keep"),
    (
        "HTTP/1.1 204 X\r\nContent-Length: 0\r\n\r\n",
        "204 none keep",
    ),
    (
        "HTTP/1.1 204 X\r\nContent-Length: 5\r\n\r\n|hello",
        "204 none drop",
    ),
    (
        "HTTP/1.1 204 X\r\nContent-Length: x\r\n\r\n",
        "204 none drop",
    ),
    (
        "HTTP/1.1 204 X\r\nTransfer-Encoding: chunked\r\n\r\n|0\r\n\r\n",
        "204 none drop",
    ),
    ("HTTP/1.0 204 X\r\n\r\n", "204 none drop"),
    (
        "HTTP/1.1 304 X\r\nContent-Length: 5\r\n\r\n",
        "304 none drop",
    ),
    ("HTTP/1.1 304 X\r\n\r\n", "304 none keep"),
    ("HTTP/1.1 205 X\r\nContent-Length: 0\r\n\r\n", "205 0 keep"),
    ("HTTP/1.1 205 X\r\n\r\n", "205 none drop"),
    (
        "HTTP/1.1 205 X\r\nTransfer-Encoding: chunked\r\n\r\n|0\r\n\r\n",
        "205 chunked keep",
    ),
    (
        "HTTP/1.1 302 X\r\nLocation: /\r\nContent-Length: 0\r\n\r\n",
        "302 0 keep",
    ),
    (
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        "200 0 keep",
    ),
    (
        "HTTP/1.1 100 X\r\nContent-Length: 5\r\nConnection: close\r\nRetry-After: 5\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n|a",
        "200 1 keep",
    ),
    (
        "HTTP/1.1 102 X\r\n\r\nHTTP/1.1 102 X\n\n\r\nHTTP/1.1 103 X\r\nLink: a\r\n\r\nHTTP/1.1 204 X\r\n\r\n",
        "204 none keep",
    ),
    (
        "HTTP/1.1 199 X\r\n\r\nHTTP/1.1 101 X\r\nUpgrade: h2c\r\n\r\n|\0",
        "101 none drop",
    ),
    (
        "HTTP/1.1 101 X\r\nContent-Length: 0\r\n\r\n",
        "101 none drop",
    ),
];

/// What is no answer, and what the sentence says.
pub const NOT_HTTP: &[(&[u8], &str)] = &[
    (b"SSH-2.0-OpenSSH_9.6\r\n", "an SSH server"),
    (b"220 mail.example ESMTP\r\n", "a mail or FTP server"),
    (b"\x15\x03\x01\x00\x02\x02\x46", "https?"),
    (b"\0\0\x12\x04\0\0\0\0\0", "HTTP/2"),
    (
        b"<!doctype html><p>Hello",
        "\"<!doctype html><p>Hello\" (a page",
    ),
    (b"{\"ok\":true}", r#"{\"ok\":true}"#),
    (b"PRI * HTTP/2.0\r\n\r\n", "PRI"),
    (b"ICY 200 OK\r\n\r\n", "ICY"),
    (b"OK", "OK"),
    (b"-ERR unknown command\r\n", "-ERR"),
    (b"HTTPS/1.1 200 OK\r\n\r\n", "HTTPS"),
    (b"HTTP 200 OK\r\n\r\n", "HTTP 200"),
    (b"HTTP/ 200 OK\r\n\r\n", "HTTP/ 200"),
    (b"HTTP/x 200 OK\r\n\r\n", "HTTP/x"),
    (b"HTTP/1. 200 OK\r\n\r\n", "HTTP/1. "),
    (b"HTTP/1.1200 OK\r\n\r\n", "HTTP/1.1200"),
    (b"HTTP/1.1\r\n\r\n", "HTTP/1.1"),
    (b"HTTP/1.1 \r\n200\r\n", "HTTP/1.1"),
    (b"HTTP/1.1 20\r\n\r\n", "20"),
    (b"HTTP/1.1 2000 OK\r\n\r\n", "2000"),
    (b"HTTP/1.1 200.1 OK\r\n\r\n", "200.1"),
    (b"HTTP/1.1 -20 OK\r\n\r\n", "-20"),
    (b"HTTP/1.1 2x0 OK\r\n\r\n", "2x0"),
    (b"HTTP/1.1 099 OK\r\n\r\n", "099"),
    (b"HTTP/1.1 000 OK\r\n\r\n", "000"),
    (b"HTTP/1.1 \xb2\xb0\xb0 OK\r\n\r\n", r"\\xb2"),
    (b"HTTP/1111.1 200 OK\r\n\r\n", "1111"),
    (b"HTTP/1.1 OK 200\r\n\r\n", "OK 200"),
    (b"HTTP/1.1 100 X\r\n\r\n<html>", "<html>"),
    (b"\xff\xfe\0\0", r"\xff\xfe\x00\x00"),
];
