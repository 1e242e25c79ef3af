//! `tandem top` against real servers.

mod common;

use std::process::{Command, Output};

use common::{Options, Server, tandem_binary};

fn top(args: &[&str], password: Option<&str>) -> Output {
    let mut command = Command::new(tandem_binary());
    command.arg("top").args(args).env_remove("REDISCLI_AUTH").env_remove("TANDEM_PASSWORD");
    if let Some(password) = password {
        command.env("TANDEM_PASSWORD", password);
    }
    command.output().expect("tandem top")
}

fn screen(server: &Server, password: Option<&str>) -> String {
    let socket = server.socket();
    let args = ["--socket", socket.to_str().expect("a path"), "--once", "--interval", "0.1"];
    let output = top(&args, password);
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).expect("text")
}

#[test]
fn it_shows_a_server() {
    let server = Options::tandem().set("slowlog-log-slower-than", "0").start();
    let mut client = server.client();
    client.command("client setname shop");
    client.call(&["set", "secret-key", "secret-value"]).expect("set");
    let text = screen(&server, None);
    for part in ["keys 1 (0 with a deadline)", "db0 steady", "set ", "shop", "slow log", "tandem-top"] {
        assert!(text.contains(part), "{part:?} is not in\n{text}");
    }
    assert!(!text.contains("secret") && !text.contains('\x1b'), "{text}");
}

#[test]
fn it_gives_the_password_and_says_what_is_wrong() {
    let server = Options::tandem().set("requirepass", "open").start();
    assert!(screen(&server, Some("open")).contains("tandem 0."));
    let socket = server.socket();
    let args = ["--socket", socket.to_str().expect("a path"), "--once"];
    for (password, reason) in [(None, "NOAUTH"), (Some("wrong"), "WRONGPASS")] {
        let output = top(&args, password);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1));
        assert!(said.contains(reason) && said.lines().count() == 1, "{said}");
    }
    let nobody = top(&["--socket", "/nowhere/at/all", "--once"], None);
    assert!(String::from_utf8_lossy(&nobody.stderr).contains("/nowhere/at/all"));
    assert!(String::from_utf8_lossy(&top(&["--help"], None).stdout).starts_with("usage: tandem top"));
}

#[test]
fn it_shows_a_redis_server_too() {
    let server = Options::redis().start();
    let text = screen(&server, None);
    assert!(text.starts_with("redis 7.") && !text.contains("engines"), "{text}");
}
