//! What Redis has answered, read leniently: a part of an odd type is nothing, and fails no reply. Pure.

use redis::Value;

pub(super) fn items(value: Option<Value>) -> std::vec::IntoIter<Value> {
    match value {
        Some(Value::Array(items)) => items.into_iter(),
        _ => Vec::new().into_iter(),
    }
}

pub(super) fn text(value: Value) -> Option<String> {
    String::from_utf8(bytes(value)).ok()
}

pub(super) fn bytes(value: Value) -> Vec<u8> {
    match value {
        Value::BulkString(bytes) => bytes,
        Value::SimpleString(text) => text.into_bytes(),
        Value::Int(n) => n.to_string().into_bytes(),
        _ => Vec::new(),
    }
}
