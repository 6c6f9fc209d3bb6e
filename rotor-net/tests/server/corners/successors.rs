//! Successors that fail, come in pairs, come too late, or differ from who was there before.

use super::*;

#[test]
fn a_successor_that_fails_leaves_files_alone() {
    let (control, unix) = (path("kept-control"), path("kept.sock"));
    let at = format!("unix:{}", unix.display());
    let server = || {
        builder()
            .listen(&at)
            .takeover(control.clone())
            .on_notice(|_| ())
    };
    let old = start(server());
    // It fails after it was given the sockets.
    let failed = server().start(|_| Err(Error::msg("not ready")), |c, _| c.stream(()));
    assert!(failed.is_err());
    assert!(UnixStream::connect(&unix).is_ok(), "its file is gone");
    assert!(
        UnixStream::connect(&control).is_ok(),
        "its control socket is gone"
    );
    let new = start(server());
    assert_eq!(old.join().unwrap().cut, 0);
    assert!(UnixStream::connect(&unix).is_ok());
    drop(new);
    assert!(
        !unix.exists() && !control.exists(),
        "the last one cleans up"
    );
}

/// The first is served; the other one is told what it found, and changes nothing.
#[test]
fn two_successors_at_once_are_no_harm() {
    let (control, unix) = (path("two-control"), path("two.sock"));
    let at = format!("unix:{}", unix.display());
    let server = move |at: &str| {
        Server::<Stream<Talk>>::builder()
            .listen(at)
            .workers(1)
            .takeover(control.clone())
            .on_notice(|_| ())
    };
    let old = server(&at).start(context, |c, _| c.stream(())).unwrap();
    let successors: Vec<_> = (0..2)
        .map(|_| {
            let (server, at) = (server.clone(), at.clone());
            std::thread::spawn(move || server(&at).start(context, |c, _| c.stream(())))
        })
        .collect();
    let results: Vec<_> = successors
        .into_iter()
        .map(|one| one.join().unwrap())
        .collect();
    let report = within("the old one's end", move || old.join()).unwrap();
    assert_eq!(report.cut, 0);
    let errors: Vec<_> = results
        .iter()
        .filter_map(|one| one.as_ref().err().map(ToString::to_string))
        .collect();
    // Either it came too late, or it took over from the first.
    assert!(errors.len() <= 1, "{errors:?}");
    assert!(
        errors.iter().all(|error| error.contains("in use")),
        "{errors:?}"
    );
    UnixStream::connect(&unix).expect("somebody serves");
}

/// With `ReusePort`, the sockets that are taken over need not be as many as the workers.
#[test]
fn a_successor_with_another_number_of_workers_leaves_no_socket_unserved() {
    let control = path("numbers-control");
    let probe = start(builder());
    let at = addr_of(&probe).to_string();
    drop(probe);
    let server = |workers: usize, dispatch| {
        let built = Server::<Stream<Talk>>::builder()
            .listen(&at)
            .workers(workers)
            .dispatch(dispatch)
            .takeover(control.clone())
            .on_notice(|_| ());
        built.start(context, |c, _| c.stream(())).unwrap()
    };
    let mut old = server(2, Dispatch::ReusePort);
    for (workers, dispatch) in [
        (4, Dispatch::ReusePort),
        (1, Dispatch::ReusePort),
        (3, Dispatch::LeastLoaded),
        (2, Dispatch::ReusePort),
    ] {
        let new = server(workers, dispatch);
        assert_eq!(
            within("the old one's end", move || old.join()).unwrap().cut,
            0
        );
        let mut clients: Vec<_> = (0..32)
            .map(|_| Client::connect(at.parse().unwrap()))
            .collect();
        for client in &mut clients {
            assert_eq!(client.ask("who").len(), 1);
        }
        old = new;
    }
}

/// An old server that ends while its successor still starts does not take the successor along.
#[test]
fn an_old_server_that_ends_early_leaves_a_successor_that_serves() {
    let control = path("early-end");
    let probe = start(builder());
    let at = addr_of(&probe).to_string();
    drop(probe);
    let server = || {
        Server::<Stream<Talk>>::builder()
            .listen(&at)
            .workers(1)
            .takeover(control.clone())
            .on_notice(|_| ())
    };
    let old = Mutex::new(Some(server().start(context, |c, _| c.stream(())).unwrap()));
    let new = server()
        .start(
            move |worker| {
                if let Some(old) = old.lock().unwrap().take() {
                    old.stop()?;
                }
                Ok(Ctx {
                    worker: worker.index(),
                    heard: 0,
                })
            },
            |c, _| c.stream(()),
        )
        .unwrap();
    assert_eq!(Client::connect(addr_of(&new)).ask("who"), "0");
}
