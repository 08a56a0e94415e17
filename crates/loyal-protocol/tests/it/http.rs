//! The least JSON-RPC client: one request, one connection.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
};

use serde_json::{Value, json};

/// Posts a body as it is; returns the status and the body of the answer.
pub(crate) fn post(address: &str, body: &[u8]) -> std::io::Result<(u16, Vec<u8>)> {
    post_with(address, "", body)
}

/// Posts with more header lines, each ended by CR LF.
pub(crate) fn post_with(address: &str, headers: &str, body: &[u8]) -> std::io::Result<(u16, Vec<u8>)> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    write!(
        stream,
        "POST / HTTP/1.1\r\nhost: {address}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\
         connection: close\r\n{headers}\r\n",
        body.len()
    )?;
    stream.write_all(body)?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n");
    let end = end.ok_or(std::io::ErrorKind::UnexpectedEof)?;
    let status = String::from_utf8_lossy(&answer[9..12]).parse().unwrap_or(0);
    Ok((status, answer.split_off(end + 4)))
}

/// One request; the whole answer object.
pub(crate) fn call(address: &str, method: &str, params: &Value) -> Value {
    let body = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).to_string();
    let (status, answer) = post(address, body.as_bytes()).unwrap();
    assert_eq!(status, 200, "{method}: {}", String::from_utf8_lossy(&answer));
    serde_json::from_slice(&answer).unwrap()
}
