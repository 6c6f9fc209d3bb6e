//! The connection, the server's description of itself, publish and subscribe.

use super::*;

#[test]
fn ping_echo_select() {
    Client::new().check(&[
        ("PING", "+PONG|"),
        ("ping hello", "$5|hello|"),
        (
            "ping a b",
            "-ERR wrong number of arguments for 'ping' command|",
        ),
        ("echo hello", "$5|hello|"),
        ("select 0", "+OK|"),
        ("select 1", "-ERR DB index is out of range|"),
        ("select -1", "-ERR DB index is out of range|"),
        ("select a", "-ERR value is not an integer or out of range|"),
    ]);
}

#[test]
fn hello_agrees_on_version_2_only() {
    let greeting = "*14|$6|server|$5|redis|$7|version|$5|7.0.0|$5|proto|:2|$2|id|:7|\
        $4|mode|$10|standalone|$4|role|$6|master|$7|modules|*0|";
    let mut client = Client::new();
    client.check(&[
        ("hello", greeting),
        ("hello 2", greeting),
        // Redis itself knows 3.
        ("hello 3", "-NOPROTO unsupported protocol version|"),
        (
            "hello x",
            "-ERR Protocol version is not an integer or out of range|",
        ),
        ("hello 2 foo", "-ERR Syntax error in HELLO option 'foo'|"),
        (
            "hello 2 setname",
            "-ERR Syntax error in HELLO option 'setname'|",
        ),
        (
            "hello 2 auth a b",
            "-WRONGPASS invalid username-password pair or user is disabled.|",
        ),
        ("hello 2 auth default b setname me", greeting),
        ("client getname", "$2|me|"),
    ]);
}

#[test]
fn client_names_and_ids() {
    let bad = "-ERR Client names cannot contain spaces, newlines or special characters.|";
    let mut client = Client::new();
    client.check(&[
        ("client id", ":7|"),
        ("client getname", "$-1|"),
        ("client setname me", "+OK|"),
        ("client getname", "$2|me|"),
        ("client setname \"a b\"", bad),
        ("client setname \"\"", "+OK|"),
        ("client getname", "$-1|"),
        ("client setinfo lib-name x", "+OK|"),
        ("client setinfo foo x", "-ERR Unrecognized option 'foo'|"),
        ("client list foo", "-ERR syntax error|"),
        (
            "client id a",
            "-ERR wrong number of arguments for 'client|id' command|",
        ),
        (
            "client",
            "-ERR wrong number of arguments for 'client' command|",
        ),
    ]);
    // Redis has no limit.
    let long = format!("client setname {}", "x".repeat(257));
    assert_eq!(
        client.ask(&long),
        "-ERR Client names cannot be longer than 256 bytes.|"
    );
    assert!(client.ask("client list").contains("id=7 name= flags=N"));
}

#[test]
fn config_is_read_only() {
    Client::new().check(&[
        ("config get save", "*2|$4|save|$0||"),
        ("config get appendonly", "*2|$10|appendonly|$2|no|"),
        ("config get SAVE append*", "*4|$4|save|$0||$10|appendonly|$2|no|"),
        ("config get nothing", "*0|"),
        ("config get maxmemory", "*2|$9|maxmemory|$1|0|"),
        ("config get", "-ERR wrong number of arguments for 'config|get' command|"),
        ("config set foo 1", "-ERR Unknown option or number of arguments for CONFIG SET - 'foo'|"),
        (
            "config set databases 3",
            "-ERR CONFIG SET failed (possibly related to argument 'databases') - can't set immutable config|",
        ),
        ("config set save a b", "-ERR wrong number of arguments for 'config|set' command|"),
        ("config resetstat", "+OK|"),
        ("config foo", "-ERR unknown subcommand 'foo'. Try CONFIG HELP.|"),
    ]);
}

#[test]
fn info_by_section() {
    let mut client = Client::new();
    client.ask("set a 1 ex 9");
    client.now_ms += 90_000_500;
    let stats = client.ask("info Stats");
    assert!(
        stats.starts_with('$') && stats.contains("|# Stats|"),
        "{stats}"
    );
    assert!(stats.contains("|total_commands_processed:2|") && !stats.contains("redis_version"));
    let all = client.ask("info");
    for line in [
        "redis_version:7.0.0",
        "uptime_in_seconds:90000",
        "uptime_in_days:1",
        "maxmemory:0",
    ] {
        assert!(all.contains(&format!("|{line}|")), "{line} in {all}");
    }
    assert!(all.contains("|db0:keys=1,expires=1,avg_ttl=0|"), "{all}");
    assert_eq!(client.ask("info nothing"), "$0||");
    assert_eq!(client.ask("info everything").len(), all.len());
}

#[test]
fn command_describes_commands() {
    let get = "*10|$3|get|:2|*2|+readonly|+fast|:1|:1|:1|*0|*0|*0|*0|";
    let docs =
        "$3|get|*6|$7|summary|$22|Get the value of a key|$5|since|$5|1.0.0|$5|group|$6|string|";
    let mut client = Client::new();
    client.check(&[
        ("command info get foo", &format!("*2|{get}$-1|")),
        ("command docs GET foo", &format!("*2|{docs}")),
        ("command docs foo", "*0|"),
        ("command count", &format!(":{}|", table::COMMANDS.len())),
        (
            "command count x",
            "-ERR wrong number of arguments for 'command|count' command|",
        ),
        ("command list x", "-ERR syntax error|"),
        (
            "command foo",
            "-ERR unknown subcommand 'foo'. Try COMMAND HELP.|",
        ),
    ]);
    let all = client.ask("command");
    assert!(all.starts_with(&format!("*{}|*10|", table::COMMANDS.len())) && all.contains(get));
    assert_eq!(client.ask("command info"), all);
    assert!(client.ask("command docs").contains(docs));
    assert!(client.ask("command list").contains("|$3|get|"));
}

#[test]
fn quit_and_reset() {
    let mut client = Client::new();
    client.ask("client setname me");
    assert_eq!(client.send("reset"), ("+RESET|".into(), "Reset".into()));
    assert_eq!(client.ask("client getname"), "$-1|");
    assert_eq!(client.send("quit"), ("+OK|".into(), "Close".into()));
    assert_eq!(client.send("quit now"), ("+OK|".into(), "Close".into()));
}

#[test]
fn publish_and_subscribe_are_left_to_the_connection() {
    let mut client = Client::new();
    for (line, effect) in [
        ("subscribe a b", r#"Subscribe(["a", "b"])"#),
        ("unsubscribe", "Unsubscribe([])"),
        ("psubscribe a*", r#"SubscribePatterns(["a*"])"#),
        ("punsubscribe a* b", r#"UnsubscribePatterns(["a*", "b"])"#),
        ("publish a b", "Publish { channel: [97], payload: [98] }"),
    ] {
        assert_eq!(client.send(line), (String::new(), effect.into()), "{line}");
    }
    client.check(&[
        (
            "subscribe",
            "-ERR wrong number of arguments for 'subscribe' command|",
        ),
        (
            "publish a",
            "-ERR wrong number of arguments for 'publish' command|",
        ),
    ]);
}

#[test]
fn a_subscriber_may_do_little_else() {
    let mut client = Client::new();
    client.session.subscriptions = 1;
    let refusal = |name| {
        format!(
            "-ERR Can't execute '{name}': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / \
             RESET are allowed in this context|"
        )
    };
    client.check(&[
        ("get a", &refusal("get")),
        ("PUBLISH a b", &refusal("publish")),
        ("hello 2", &refusal("hello")),
        ("ping", "*2|$4|pong|$0||"),
        ("ping hi", "*2|$4|pong|$2|hi|"),
        (
            "ping a b",
            "-ERR wrong number of arguments for 'ping' command|",
        ),
        // The number of arguments is checked first.
        ("get", "-ERR wrong number of arguments for 'get' command|"),
        (
            "foo",
            "-ERR unknown command 'foo', with args beginning with: |",
        ),
    ]);
    for line in [
        "subscribe a",
        "psubscribe a",
        "unsubscribe",
        "punsubscribe",
        "quit",
        "reset",
    ] {
        assert_ne!(client.send(line).1, "None", "{line}");
    }
}
