//! Heartbeats, and the handshake's time.

use super::*;

fn beating(every: Duration, max: u32) -> ClientConfig {
    ClientConfig {
        heartbeat: every,
        silent_heartbeats_max: max,
        ..once()
    }
}

#[test]
fn an_idle_connection_is_asked_for_signs_of_life_and_lives() {
    let (tell, heard) = std::sync::mpsc::channel();
    let server = scripted(move |listener| {
        let mut peer = listener.greet();
        for _ in 0..10 {
            peer.expect(PING);
            peer.send(&bare(PONG));
        }
        tell.send(()).unwrap();
        peer.double();
    });
    let channel = connect_with(&server, beating(ms(10), 1000));
    heard.recv_timeout(PATIENCE).unwrap();
    assert_eq!(channel.unary::<Double>(3).wait(), Ok(6));
    drop(channel);
    server.join();
}

#[test]
fn a_silent_server_is_given_up() {
    let server = scripted(|listener| {
        let mut peer = listener.greet();
        peer.expect(CALL);
        peer.expect(PING);
        peer.expect(PING);
        assert_eq!(peer.goodbye(), "nothing arrived for 3 heartbeats");
    });
    let channel = connect_with(&server, beating(ms(10), 2));
    let error = channel.unary::<Double>(3).wait().unwrap_err();
    assert_eq!(why(&error), (true, "nothing arrived for 3 heartbeats"));
    server.join();
}

#[test]
fn pings_of_the_server_are_answered() {
    let (tell, heard) = std::sync::mpsc::channel();
    let server = scripted(move |listener| {
        let mut peer = listener.greet();
        peer.send(&bare(PING));
        peer.expect(PONG);
        tell.send(()).unwrap();
        peer.double();
    });
    let channel = connect(&server);
    heard.recv_timeout(PATIENCE).unwrap();
    assert_eq!(channel.unary::<Double>(3).wait(), Ok(6));
    drop(channel);
    server.join();
}

#[test]
fn a_server_that_says_nothing_is_given_up_after_the_handshakes_time() {
    let server = scripted(|listener| {
        let mut peer = listener.accept();
        peer.hello();
        peer.send(&PREAMBLE[..5]);
        assert_eq!(peer.next(), None);
    });
    let config = ClientConfig {
        connect: ms(30),
        ..once()
    };
    let error = Channel::connect_with(&server.at, config).unwrap_err();
    let expected = "the peer did not complete the handshake in time";
    assert_eq!(why(&error), (false, expected));
    server.join();
}

#[test]
fn a_server_that_is_not_there_is_named() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let at = listener.local_addr().unwrap().to_string();
    drop(listener);
    // Also where it would be tried again: who connects wants to know.
    let error = Channel::connect(&at).unwrap_err();
    let (was_sent, why) = why(&error);
    assert!(
        !was_sent && why.contains(&at) && why.contains("refused"),
        "{why}"
    );
    let error = Channel::connect("nowhere").unwrap_err();
    assert!(
        error.to_string().contains("\"nowhere\" is not an address"),
        "{error}"
    );
}

#[test]
fn a_credential_that_is_too_long_is_named() {
    let server = scripted(|listener| {
        listener.accept().expect_end();
    });
    let config = ClientConfig {
        credential: vec![0; 4097],
        ..once()
    };
    let error = Channel::connect_with(&server.at, config).unwrap_err();
    assert!(why(&error).1.contains("the credential"), "{error}");
    server.join();
}
