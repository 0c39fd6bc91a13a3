//! The value of the header `Authorization`.

use http::HeaderValue;

pub fn sensitive(text: &str) -> Result<HeaderValue, String> {
    let mut value = HeaderValue::from_str(text)
        .map_err(|_| "it holds characters that no header can have".to_owned())?;
    value.set_sensitive(true);
    Ok(value)
}
