//! Publish and subscribe between connections.

use crate::support::{Client, Server, bulk, eventually, request};

fn subscribed(verb: &str, name: &str, count: usize) -> String {
    format!(
        "*3\r\n${}\r\n{verb}\r\n${}\r\n{name}\r\n:{count}\r\n",
        verb.len(),
        name.len()
    )
}

fn message(channel: &str, text: &str) -> String {
    format!(
        "*3\r\n$7\r\nmessage\r\n${}\r\n{channel}\r\n${}\r\n{text}\r\n",
        channel.len(),
        text.len()
    )
}

fn messages_reach_channels_and_patterns(workers: &str) {
    let server = Server::start(&["--workers", workers]);
    let (mut news, mut all, mut publisher) = (server.connect(), server.connect(), server.connect());
    publisher.ask("PUBLISH news nobody", ":0\r\n");
    news.send("SUBSCRIBE news sport\r\n");
    news.expect(subscribed("subscribe", "news", 1) + &subscribed("subscribe", "sport", 2));
    all.send("PSUBSCRIBE n* ?ews\r\nSUBSCRIBE news\r\n");
    all.expect(subscribed("psubscribe", "n*", 1) + &subscribed("psubscribe", "?ews", 2));
    all.expect(subscribed("subscribe", "news", 3));

    publisher.ask("PUBLISH news hello", ":4\r\n");
    publisher.ask("PUBLISH sport goal", ":1\r\n");
    publisher.ask("PUBLISH nobody x", ":1\r\n");
    news.expect(message("news", "hello") + &message("sport", "goal"));
    all.expect(message("news", "hello"));
    let pattern = |pattern: &str, channel: &str, text: &str| {
        [
            "*4\r\n$8\r\npmessage\r\n".as_bytes(),
            &bulk(pattern.as_bytes()),
            &bulk(channel.as_bytes()),
            &bulk(text.as_bytes()),
        ]
        .concat()
    };
    all.expect(
        [
            pattern("?ews", "news", "hello"),
            pattern("n*", "news", "hello"),
            pattern("n*", "nobody", "x"),
        ]
        .concat(),
    );

    // A subscriber may do little else, and hears nothing of what it has left.
    news.ask("GET a", "-ERR Can't execute 'get': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this context\r\n");
    news.ask("PING", "*2\r\n$4\r\npong\r\n$0\r\n\r\n");
    news.ask("UNSUBSCRIBE news", &subscribed("unsubscribe", "news", 1));
    publisher.ask("PUBLISH news again", ":3\r\n");
    news.ask("UNSUBSCRIBE", &subscribed("unsubscribe", "sport", 0));
    news.ask("UNSUBSCRIBE", "*3\r\n$11\r\nunsubscribe\r\n$-1\r\n:0\r\n");
    news.ask("GET a", "$-1\r\n");

    all.send("RESET\r\n");
    drop(news);
    eventually("both are gone", || {
        publisher.ask_line("PUBLISH news x") == ":0"
    });
}

fn a_client_that_is_gone_has_left_its_channels(workers: &str) {
    let server = Server::start(&["--workers", workers]);
    let mut publisher = server.connect();
    for _ in 0..20 {
        let mut subscriber = server.connect();
        subscriber.ask("SUBSCRIBE c", &subscribed("subscribe", "c", 1));
        drop(subscriber);
    }
    eventually("they have left", || {
        publisher.ask_line("PUBLISH c x") == ":0"
    });
}

fn no_message_is_lost_however_fast_they_come(workers: &str) {
    let server = Server::start(&["--workers", workers]);
    let mut publisher = server.connect();
    let count = 30_000;
    // Many more messages than the loop's inbox takes: publishers are made to wait.
    let subscribers: Vec<_> = (0..40)
        .map(|_| {
            let mut subscriber = server.connect();
            subscriber.ask("SUBSCRIBE c", &subscribed("subscribe", "c", 1));
            std::thread::spawn(move || {
                (0..count).for_each(|i| subscriber.expect(message("c", &i.to_string())));
            })
        })
        .collect();
    let sender = std::thread::spawn(move || {
        let requests: Vec<u8> = (0..count)
            .flat_map(|i| format!("PUBLISH c {i}\r\n").into_bytes())
            .collect();
        // The replies are read while requests are sent, or both sides would wait.
        for part in requests.chunks(100_000) {
            publisher.send(part);
            let ends = part.iter().filter(|byte| **byte == b'\n').count();
            publisher.expect(b":40\r\n".repeat(ends));
        }
    });
    sender.join().unwrap();
    for subscriber in subscribers {
        subscriber.join().unwrap();
    }
}

fn a_subscriber_that_does_not_read_is_cut_and_the_others_are_not(workers: &str) {
    let server = Server::start(&["--workers", workers]);
    let (mut slow, mut quick, mut publisher) =
        (server.connect(), server.connect(), server.connect());
    for subscriber in [&mut slow, &mut quick] {
        subscriber.ask("SUBSCRIBE c", &subscribed("subscribe", "c", 1));
    }
    let text = "x".repeat(1 << 20);
    let expected = message("c", &text);
    let mut sent = 0;
    let reader = |quick: &mut Client| quick.expect(&expected);
    loop {
        publisher.send(request(&[b"PUBLISH", b"c", text.as_bytes()]));
        sent += 1;
        reader(&mut quick);
        match publisher.line().as_str() {
            ":2" => assert!(sent < 1000, "the slow one is never cut"),
            ":1" => break,
            other => panic!("{other}"),
        }
    }
    assert!(sent > 32, "only above the limit");
    assert!(slow.is_over());
    publisher.send("INFO stats\r\n");
    let info = (0..12)
        .map(|_| publisher.line())
        .find(|line| line.contains("output_buffer_limit"));
    assert_eq!(info.unwrap(), "client_output_buffer_limit_disconnections:1");
}

fn subscriptions_are_limited(workers: &str) {
    let server = Server::start(&["--workers", workers]);
    let mut client = server.connect();
    let name = "n".repeat(1025);
    client.ask(
        &format!("SUBSCRIBE {name}"),
        "-ERR the name of a channel or pattern is too long\r\n",
    );
    for i in 1..=1024 {
        let name = format!("c{i}");
        client.ask(
            &format!("SUBSCRIBE {name}"),
            &subscribed("subscribe", &name, i),
        );
    }
    client.ask("PSUBSCRIBE one-more", "-ERR too many subscriptions\r\n");
    client.ask("SUBSCRIBE c1", &subscribed("subscribe", "c1", 1024));
    client.ask("UNSUBSCRIBE c1", &subscribed("unsubscribe", "c1", 1023));
    client.ask(
        "PSUBSCRIBE one-more",
        &subscribed("psubscribe", "one-more", 1024),
    );
}

crate::support::with_one_and_three_workers! {
    messages_reach_channels_and_patterns
    a_client_that_is_gone_has_left_its_channels
    no_message_is_lost_however_fast_they_come
    a_subscriber_that_does_not_read_is_cut_and_the_others_are_not
    subscriptions_are_limited
}
