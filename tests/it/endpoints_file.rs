//! `--endpoints`: what an operator has set for some endpoints holds, from the first message on.

use std::fs;
use std::path::PathBuf;

use crate::support::message;
use crate::support::receiver::Receiver;
use crate::support::service::Outhook;

/// A file of rules, in a directory of its own, which goes with it.
struct Rules(PathBuf);

impl Rules {
    fn new(test: &str, text: &str) -> Rules {
        let name = format!("outhook-endpoints-{}-{test}.toml", std::process::id());
        let rules = Rules(std::env::temp_dir().join(name));
        rules.write(text);
        rules
    }

    fn write(&self, text: &str) {
        fs::write(&self.0, text).expect("to write to the temporary directory");
    }

    fn path(&self) -> &str {
        self.0.to_str().expect("a name of UTF-8")
    }
}

impl Drop for Rules {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

#[test]
fn rules_hold_for_the_very_first_message() {
    let receiver = Receiver::ok();
    let text = format!(
        "[[endpoint]]\nurl = \"{}\"\nmethod = \"PUT\"\n",
        receiver.url("/")
    );
    let rules = Rules::new("first", &text);
    // A new process each time, as only its first message can be too early.
    for n in 0..30 {
        let line = message(&receiver.url("/"), &format!("m{n}"), "1");
        let run = Outhook::new(&["deliver", "--workers", "2", "--endpoints", rules.path()]);
        assert_eq!(run.run(line).code, 0);
    }
    let methods = receiver.wait_for(30);
    assert!(methods.iter().all(|r| r.method == "PUT"));
}
