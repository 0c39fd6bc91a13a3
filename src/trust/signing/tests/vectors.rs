//! Each scheme makes what its inventor has published.

use std::sync::Arc;

use http::{HeaderMap, HeaderValue};

use crate::trust::secret::Secret;
use crate::trust::signing::scheme::Spec;
use crate::trust::signing::{Signing, Subject, TimedKey};

fn named(scheme: &str) -> Spec {
    Spec {
        scheme: Some(scheme.into()),
        ..Spec::default()
    }
}

/// What these keys add to a request, with values as text.
fn sign(spec: &Spec, secrets: &[&str], seconds: u64, body: &str) -> Vec<(String, String)> {
    let contract = Arc::new(spec.build().unwrap());
    let key = |text: &&str| contract.key(&Secret::new((*text).into())).unwrap();
    let keys: Vec<_> = secrets.iter().map(|s| TimedKey::always(key(s))).collect();
    let subject = Subject {
        id: "msg_p5jXN8AQM9LWM0D4loKWxJek",
        at: seconds * 1000 + 7,
        method: "PUT",
        url: "https://h/a?b",
        body: body.as_bytes(),
    };
    let mut headers = HeaderMap::new();
    headers.insert("x-hub-signature-256", HeaderValue::from_static("forged"));
    Signing::new(contract, keys)
        .sign(&subject, &mut headers)
        .unwrap();
    let text = |value: &HeaderValue| value.to_str().unwrap().to_owned();
    let mut list: Vec<_> = headers
        .iter()
        .map(|(name, value)| (name.to_string(), text(value)))
        .filter(|(_, value)| value != "forged")
        .collect();
    list.sort();
    list
}

fn assert_headers(got: &[(String, String)], want: &[(&str, &str)]) {
    let got: Vec<_> = got.iter().map(|(n, v)| (&**n, &**v)).collect();
    assert_eq!(got, want);
}

/// Of the libraries' tests (svix/svix-webhooks), which Standard Webhooks has inherited.
#[test]
fn svix() {
    let got = sign(
        &named("svix"),
        &["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"],
        1_614_265_330,
        r#"{"test": 2432232314}"#,
    );
    let want = [
        ("svix-id", "msg_p5jXN8AQM9LWM0D4loKWxJek"),
        (
            "svix-signature",
            "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
        ),
        ("svix-timestamp", "1614265330"),
    ];
    assert_headers(&got, &want);
}

/// GitHub's documentation, "Validating webhook deliveries", section "Testing the webhook payload
/// validation".
#[test]
fn github() {
    let secret = "It's a Secret to Everybody";
    let got = sign(&named("github"), &[secret, "other"], 1, "Hello, World!");
    let value = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
    assert_headers(&got, &[("x-hub-signature-256", value)]);
}

/// Of the tests of Stripe's library for .NET (stripe/stripe-dotnet, `EventUtilityTest`).
#[test]
fn stripe() {
    let body = r#"{
  "id": "evt_123",
  "object": "event",
  "account": "acct_123",
  "api_version": "2017-05-25",
  "created": 1533204620,
  "data": {
    "object": {
      "id": "ii_123",
      "object": "invoiceitem",
      "amount": 1000,
      "currency": "usd",
      "customer": "cus_123",
      "date": 1533204620,
      "description": "Test Invoice Item",
      "discountable": false,
      "invoice": "in_123",
      "livemode": false,
      "metadata": {},
      "period": {
        "start": 1533204620,
        "end": 1533204620
      },
      "plan": null,
      "proration": false,
      "quantity": null,
      "subscription": null
    }
  },
  "livemode": false,
  "pending_webhooks": 1,
  "request": {
    "id": "req_123",
    "idempotency_key": "idempotency-key-123"
  },
  "type": "invoiceitem.created"
}
"#;
    let value = "t=1533204620,v1=f0bdba6d4eacbd8ad8a3bbadd7248e633ec1477f7899c124c51b39405fa36613";
    let got = sign(&named("stripe"), &["webhook_secret"], 1_533_204_620, body);
    assert_headers(&got, &[("stripe-signature", value)]);
    // Stripe signs with each secret while one is being changed.
    let got = sign(
        &named("stripe"),
        &["webhook_secret", "other"],
        1_533_204_620,
        body,
    );
    let rest = got[0].1.strip_prefix(value).unwrap();
    assert!(rest.starts_with(",v1=") && rest.len() == 68, "{rest}");
}

/// Shopify publishes none; this is the one of a third party's test (sqlpage/SQLPage, the tests of
/// `sqlpage.hmac`, "Shopify webhook HMAC validation").
#[test]
fn shopify() {
    let body = r#"{"id":1234567890,"email":"customer@example.com","total_price":"123.45"}"#;
    let got = sign(&named("shopify"), &["test-webhook-secret"], 1, body);
    let value = "QNyObTlKbMx2qDlPF/ZOZcBqg5OgPg+2oky3zldc0Gw=";
    assert_headers(&got, &[("x-shopify-hmac-sha256", value)]);
}

/// Slack's documentation, "Verifying requests from Slack".
#[test]
fn slack() {
    let body = "token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&\
                channel_id=G8PSS9T3V&channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&\
                command=%2Fwebhook-collect&text=&response_url=https%3A%2F%2Fhooks.slack.com%2F\
                commands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN&\
                trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c";
    let secret = "8f742231b10e8888abcd99yyyzzz85a5";
    let got = sign(&named("slack"), &[secret], 1_531_420_618, body);
    let value = "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503";
    let want = [
        ("x-slack-request-timestamp", "1531420618"),
        ("x-slack-signature", value),
    ];
    assert_headers(&got, &want);
}

/// RFC 2202 and RFC 4231, test case 2: HMAC with the key `Jefe`.
#[test]
fn digests_encodings_and_forms_of_keys() {
    let body = "what do ya want for nothing?";
    let spec = |digest: &str, encoding: &str, key: &str| Spec {
        header: Some("X-Sig".into()),
        digest: Some(digest.into()),
        encoding: Some(encoding.into()),
        key: Some(key.into()),
        ..Spec::default()
    };
    let sha1 = "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79";
    let sha512 = "164b7a7bfcf819e2e395fbe73b56e0a387bd64222e831fd610270cd7ea250554\
                  9758bf75c05a994a6d034f65f8f0e6fdcaeab1a34d4a6b4b636e070a38bce737";
    for (spec, key, value) in [
        (spec("sha1", "hex", "text"), "Jefe", sha1),
        (spec("sha512", "hex", "text"), "Jefe", sha512),
        (
            spec("sha256", "base64", "text"),
            "Jefe",
            "W9zBRr9gdU5qBCQmCJV1x1oAPwidJzmDnexYuWTsOEM=",
        ),
    ] {
        assert_headers(&sign(&spec, &[key], 1, body), &[("x-sig", value)]);
    }
    // Of RFC 2202 and RFC 4231, test 1.
    let sha1 = "b617318655057264e28bc0b6fb378c8ef146be00";
    let sha512 = "87aa7cdea5ef619d4ff0b4241a1d6cb02379f4e2ce4ec2787ad0b30545e17cde\
                  daa833b7d6b8a702038b274eaea3f4e4be9d914eeb61f1702e696c203a126854";
    for (spec, key, value) in [
        (spec("sha1", "hex", "hex"), &*"0b".repeat(20), sha1),
        (
            spec("sha512", "hex", "base64"),
            "CwsLCwsLCwsLCwsLCwsLCwsLCws=",
            sha512,
        ),
    ] {
        assert_headers(&sign(&spec, &[key], 1, "Hi There"), &[("x-sig", value)]);
    }
}

/// What stands in braces, wherever it may.
#[test]
fn a_template_of_one_s_own() {
    let spec = Spec {
        header: Some("X-Acme".into()),
        sign: Some("{method} {url}\n{id}|{timestamp}|{timestamp_ms}|{body}".into()),
        value: Some("i={id};t={timestamp_ms};s={signature}".into()),
        headers: vec![("X-Acme-Time".into(), "at {timestamp}".into())],
        ..Spec::default()
    };
    let got = sign(&spec, &["k"], 12, "B");
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, b"k");
    let id = "msg_p5jXN8AQM9LWM0D4loKWxJek";
    let text = format!("PUT https://h/a?b\n{id}|12|12007|B");
    let tag = ring::hmac::sign(&key, text.as_bytes());
    let tag: String = tag.as_ref().iter().map(|b| format!("{b:02x}")).collect();
    let value = format!("i={id};t=12007;s={tag}");
    assert_headers(&got, &[("x-acme", &value), ("x-acme-time", "at 12")]);
    // A preset may be changed in part.
    let spec = Spec {
        header: Some("X-Hook-Signature".into()),
        ..named("github")
    };
    let got = sign(&spec, &["k"], 1, "B");
    assert!(got[0].0 == "x-hook-signature" && got[0].1.starts_with("sha256="));
}

#[test]
fn what_cannot_be_is_refused() {
    for (fields, words) in [
        ("scheme=githup", "one of standard, svix, github"),
        ("sign={body}", "needs header"),
        ("scheme=svix header=x", "header cannot"),
        ("scheme=rfc9421 value=x", "value cannot"),
        ("header=x-s label=x", "rfc9421"),
        ("header=a(b", "header name"),
        ("header=Host", "set by outhook"),
        ("header=webhook-id", "meaning"),
        ("header=x-s digest=md5", "sha512"),
        ("header=x-s encoding=hax", "base64"),
        ("header=x-s key=pem", "prefixed"),
        ("header=x-s sign={id}", "sign: {body} must"),
        ("header=x-s sign={body}{x}", "{timestamp_ms}"),
        ("header=x-s sign={body", "braces"),
        ("header=x-s sign={body}}", "braces"),
        ("header=x-s value=x", "{signature} must"),
        ("header=x-s value={signature}{body}", "value:"),
        ("header=x-s value=é{signature}", "ASCII"),
        ("header=x-s more=,", "more:"),
        ("header=x-s x-s:1", "the one with"),
        ("header=x-s x:{signature}", "headers: x"),
        ("header=x-s te:1", "set by outhook"),
    ] {
        let mut spec = Spec::default();
        for field in fields.split(' ') {
            if let Some((name, text)) = field.split_once(':') {
                spec.headers.push((name.into(), text.into()));
                continue;
            }
            let (name, text) = field.split_once('=').unwrap();
            let to = match name {
                "scheme" => &mut spec.scheme,
                "header" => &mut spec.header,
                "digest" => &mut spec.digest,
                "encoding" => &mut spec.encoding,
                "sign" => &mut spec.sign,
                "value" => &mut spec.value,
                "more" => &mut spec.more,
                "key" => &mut spec.key,
                _ => &mut spec.label,
            };
            *to = Some(text.into());
        }
        let e = spec.build().expect_err(fields);
        assert!(e.contains(words), "{fields}: {e}");
    }
}
