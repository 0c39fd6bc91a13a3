//! Logins that are refused at start: with the key that is wrong, and nothing of what it holds.

use super::Folder;
use crate::support::tls::Authority;

#[test]
fn a_bad_login_is_refused_at_start_with_its_key_and_without_its_secret() {
    let folder = Folder::new();
    let clients = Authority::new();
    let (us, them) = (clients.issue("us"), clients.issue("them"));
    folder.write("us.crt", &us.chain_pem());
    folder.write("us.key", &us.key_pem());
    folder.write("them.key", &them.key_pem());
    folder.write("token", "s3cret\nline");
    let cut = us.key_pem().replace("-----END PRIVATE KEY-----", "");
    folder.write("cut.key", &cut);
    let host = "host = \"h\"\n";
    let http = "url = \"http://h/\"\n";
    for (of, rule, words) in [
        (
            host,
            "client_cert_file = \"@us.crt\"\nclient_key_file = \"@them.key\"",
            "endpoint 1: client_key_file @them.key: it is not the key of the first certificate",
        ),
        (
            host,
            "client_cert_file = \"@us.crt\"",
            "client_cert_file @us.crt: there is no private key in it",
        ),
        (
            host,
            "client_cert_file = \"@us.key\"\nclient_key_file = \"@us.key\"",
            "client_cert_file @us.key: there is no certificate in it",
        ),
        (
            host,
            "client_cert_file = \"@us.crt\"\nclient_key_file = \"@cut.key\"",
            "client_key_file @cut.key: it is not PEM: a section has no end",
        ),
        (
            host,
            "client_cert_file = \"@nothing\"\nclient_key_file = \"@us.key\"",
            "client_cert_file @nothing: No such file",
        ),
        (
            host,
            "client_key_file = \"@us.key\"",
            "client_key_file: it needs client_cert_file",
        ),
        (
            http,
            "client_cert_file = \"@us.crt\"\nclient_key_file = \"@us.key\"",
            "client_cert_file: it is for https://",
        ),
        (
            host,
            "bearer_token = \"s3cret word\"",
            "bearer_token: it holds a blank",
        ),
        (
            host,
            "bearer_token = \"Bearer s3cret\"",
            "bearer_token: it must be the token alone",
        ),
        (
            host,
            "bearer_token_file = \"@token\"",
            "bearer_token_file @token: it holds a blank, a line end",
        ),
        (
            host,
            "bearer_token_file = \"/\"",
            "bearer_token_file /: not a file",
        ),
        (host, "bearer_token = 530036", "it must be a text in quotes"),
        (host, "bearer_token = s3cret", "line 3: "),
        (
            host,
            "bearer_token = \"s3cret\"\nbearer_token_file = \"@token\"",
            "bearer_token and bearer_token_file exclude each other",
        ),
        (
            host,
            "bearer_token = \"s3cret\"\nbasic = { user = \"u\", password = \"s3cret\" }",
            "bearer_token, basic and oauth2 exclude each other",
        ),
        (
            host,
            "basic = \"u:s3cret\"",
            "it must be a table, as { user",
        ),
        (
            host,
            "basic = { user = \"u\", pasword = \"s3cret\" }",
            "unknown field `pasword`",
        ),
        (
            host,
            "basic = { user = \"u:x\", password = \"s3cret\" }",
            "basic: user: it must be a name",
        ),
        (
            host,
            "basic = { user = \"u\", password = \"s3cret\\n\" }",
            "basic: password: it holds a line end",
        ),
        (
            host,
            "basic = { user = \"u\", password = [\"s3cret\"] }",
            "a text in quotes",
        ),
        (
            host,
            "basic = { user = \"u\" }",
            "basic: it needs password or password_file",
        ),
        (
            host,
            "basic = { user = \"u\", password = \"s3cret\", password_file = \"@token\" }",
            "basic: password and password_file exclude each other",
        ),
        (
            host,
            "bearer_token = \"s3cret\"\nheaders = { Authorization = \"s3cret\" }",
            "headers: authorization is set by the login",
        ),
        (
            host,
            "insecure_tls = true\nca_file = \"@us.crt\"",
            "insecure_tls and ca_file exclude each other",
        ),
        (
            http,
            "insecure_tls = true",
            "insecure_tls: it is for https://",
        ),
    ] {
        let place = |text: &str| {
            text.replace(
                '@',
                &format!("{}/", folder.path("").display()).replace("//", "/"),
            )
        };
        let rules = format!("[[endpoint]]\n{of}{}\n", place(rule));
        let ended = folder.deliver(&rules, &[], "");
        let said = ended.err.join("\n");
        assert_eq!(ended.code, 2, "{rule}: {said}");
        assert!(said.contains(&place(words)), "{rule}: {said}");
        assert_eq!(ended.err.len(), 1, "{said}");
        let key = us.key_pem();
        let mut secrets = key.lines().skip(1).take(2).chain(["s3cret", "530036"]);
        assert!(
            !secrets.any(|secret| said.contains(secret)),
            "{rule}: {said}"
        );
    }
}

#[test]
fn a_bad_oauth2_is_refused_at_start() {
    let folder = Folder::new();
    let good = "token_url = \"https://t/\", client_id = \"us\", client_secret = \"s3cret\"";
    for (args, rule, words) in [
        (
            &[][..],
            "oauth2 = \"s3cret\"".to_owned(),
            "it must be a table, as { token_url",
        ),
        (
            &[],
            format!("oauth2 = {{ {good}, token = \"s3cret\" }}"),
            "unknown field `token`",
        ),
        (
            &[],
            format!("oauth2 = {{ {good}, auth = \"s3cret\" }}"),
            "oauth2: auth: it must be basic (a header) or body",
        ),
        (
            &[],
            format!("oauth2 = {{ {good}, scope = \"\" }}"),
            "oauth2: scope: it is empty",
        ),
        (
            &[],
            format!("oauth2 = {{ {good}, client_secret_file = \"/x\" }}"),
            "oauth2: client_secret and client_secret_file exclude each other",
        ),
        (
            &[],
            "oauth2 = { token_url = \"https://t/\", client_id = \"us\" }".into(),
            "oauth2: it needs client_secret or client_secret_file",
        ),
        (
            &[],
            "oauth2 = { client_id = \"us\", client_secret = \"s3cret\" }".into(),
            "missing field `token_url`",
        ),
        (
            &[],
            format!(
                "oauth2 = {{ {} }}",
                good.replace("https://t/", "https://us:s3cret@t/")
            ),
            "oauth2: token_url: user and password are not allowed",
        ),
        (
            &[],
            format!("oauth2 = {{ {} }}", good.replace("s3cret", "s3cret\\n")),
            "oauth2: client_secret: it is empty, or holds a line end",
        ),
        (
            &[],
            format!("oauth2 = {{ {good} }}\nbearer_token = \"s3cret\""),
            "bearer_token, basic and oauth2 exclude each other",
        ),
        (
            &["--https-only"],
            format!("oauth2 = {{ {} }}", good.replace("https", "http")),
            "oauth2: token_url: it must be https://",
        ),
        (
            &["--https-only"],
            "insecure_tls = true".into(),
            "insecure_tls: certificates are to be verified where --https-only",
        ),
    ] {
        let rules = format!("[[endpoint]]\nhost = \"h\"\n{rule}\n");
        let ended = folder.deliver(&rules, args, "");
        let said = ended.err.join("\n");
        assert_eq!(ended.code, 2, "{rule}: {said}");
        assert!(said.contains(words), "{rule}: {said}");
        assert_eq!(ended.err.len(), 1, "{said}");
        assert!(!said.contains("s3cret"), "{said}");
    }
}
