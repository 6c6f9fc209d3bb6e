//! Which threads of the server do what, and where they run, as Linux tells.

use super::common::PATIENCE;
use super::support::{Client, Served, TestDir, bytes, files, wait_until};
use rotor_net::rpc::{Channel, ClientConfig};
use samples::files::service::files::Client as Files;
use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

const LARGE: usize = 20 << 20;

/// What the system tells of each thread of a process, by the thread's id.
fn threads(process: u32, file: &str) -> BTreeMap<u32, String> {
    let tasks = fs::read_dir(format!("/proc/{process}/task")).unwrap();
    let told = |path: &Path| {
        let id = path.file_name()?.to_str()?.parse().ok()?;
        // It may have ended.
        let text = fs::read_to_string(path.join(file)).ok()?;
        Some((id, text.trim_end().to_owned()))
    };
    tasks.filter_map(|task| told(&task.ok()?.path())).collect()
}

/// The cores that it may run on, of a thread's status.
fn cores(status: &str) -> Vec<usize> {
    let line = |line: &'static str| status.lines().find_map(move |each| each.strip_prefix(line));
    let list = line("Cpus_allowed_list:").expect("Linux says so").trim();
    let ranges = list.split(',').flat_map(|range| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        first.parse::<usize>().unwrap()..=last.parse().unwrap()
    });
    ranges.collect()
}

/// With cores to spare the first is left to the acceptor; the thread pool may use all. On a machine of one core there is
/// nothing to tell apart.
#[test]
fn each_worker_has_a_core_of_its_own_and_the_thread_pool_has_all() {
    const WORKERS: usize = 2;
    let all = cores(&fs::read_to_string("/proc/self/status").unwrap());
    let shared = match all.len() > WORKERS {
        true => &all[1..],
        false => &all[..],
    };
    let served = Served::with("pinned", &["--workers", &WORKERS.to_string()]);
    let process = served.server.process.id();
    let statuses = threads(process, "status");
    let of_all = |name: &str| -> Vec<_> {
        let names = threads(process, "comm").into_iter();
        let ids = names.filter(|(_, other)| other == name).map(|(id, _)| id);
        ids.map(|id| cores(&statuses[&id])).collect()
    };
    for worker in 0..WORKERS {
        let expected = vec![shared[worker % shared.len()]];
        let name = format!("rotor-worker-{worker}");
        assert_eq!(of_all(&name), [expected], "{name} of {all:?}");
    }
    let pool = of_all("libuv-worker");
    assert!(!pool.is_empty());
    assert!(pool.iter().all(|cores| *cores == all), "{pool:?}");
}

/// Whether system calls can be traced here, which not every container allows.
fn can_trace() -> bool {
    let mut strace = Command::new("strace");
    strace.args(["-f", "--seccomp-bpf", "-o", "/dev/null", "true"]);
    if strace.output().is_ok_and(|output| output.status.success()) {
        return true;
    }
    println!("SKIPPED: strace is not installed, or may not trace");
    false
}

/// All there is to ask for, of files in `sub`, done to its end and cut off.
fn make_use_of(served: &Served) {
    served.told(&["list"]);
    served.told(&["size", "sub/large"]);
    served.told(&["exists", "sub/large"]);
    assert!(served.ask(&["get", "sub/large"]).status.success());
    served.refused(&["get", "sub"]);
    assert!(served.ask_with(&["put", "sub/a"], b"a").status.success());
    served.told(&["del", "sub/a"]);
    let mut left = Client::start(served.client(&["get", "sub/large"]));
    left.first(1000);
    left.kill();
    left.end();
    let mut left = Client::start(served.client(&["put", "sub/b"]));
    let mut stdin = left.stdin();
    stdin.write_all(&bytes(1 << 20)).unwrap();
    let is_open = |end: &str| open(served).iter().any(|path| path.contains(end));
    wait_until(|| is_open("/sub/.upload-"));
    left.kill();
    left.end();
    // A listing that is read no further than its first batch.
    let config = ClientConfig {
        window_bytes: 64 << 10,
        ..ClientConfig::default()
    };
    let at = served.server.addr.to_string();
    let client = Files::new(&Channel::connect_with(&at, config).unwrap());
    let mut batches = client.list_all().within(PATIENCE);
    assert!(matches!(batches.next_blocking(), Some(Ok(Ok(_)))));
}

/// What the server has open.
fn open(served: &Served) -> Vec<String> {
    let all = fs::read_dir(format!("/proc/{}/fd", served.server.process.id())).unwrap();
    let paths = all.filter_map(|fd| fs::read_link(fd.ok()?.path()).ok());
    paths
        .map(|path: PathBuf| path.display().to_string())
        .collect()
}

#[test]
fn no_loop_touches_the_disk() {
    if !can_trace() {
        return;
    }
    let (dir, log) = (TestDir::new("traced"), TestDir::new("trace"));
    let log = log.path().join("log");
    let sub = dir.path().join("sub");
    fs::create_dir(&sub).unwrap();
    fs::write(sub.join("large"), bytes(LARGE)).unwrap();
    // Many times the window of the listing.
    for n in 0..2000 {
        fs::write(sub.join(format!("{n:0100}")), b"").unwrap();
    }
    let mut strace = Command::new("strace");
    // As a grandchild, so that the process that was started is the server. Descriptors are told with their paths.
    strace
        .args(["-D", "-f", "--seccomp-bpf", "-y", "-o"])
        .arg(&log);
    let calls = "trace=%file,close,read,pread64,write,fdatasync,getdents64";
    strace.args(["-e", calls]).arg(files().get_program());
    let served = Served::by(strace, dir, &["--workers", "2"]);
    make_use_of(&served);
    let (dir, process) = (
        served.at("sub").display().to_string(),
        served.server.process.id(),
    );
    wait_until(|| !open(&served).iter().any(|path| path.starts_with(&dir)));
    let names = threads(process, "comm");
    served.server.end(libc::SIGTERM);
    let mut traced = String::new();
    wait_until(|| {
        traced = fs::read_to_string(&log).unwrap();
        let mut ends = traced.lines().filter(|line| line.contains("+++ exited"));
        ends.any(|line| line.starts_with(&process.to_string()))
    });
    let mut by_pool = 0;
    // By the directory's path, or by its name within what is served.
    let is_ours = |line: &&str| line.contains(&dir) || line.contains(">, \"sub");
    for line in traced.lines().filter(is_ours) {
        let (id, call) = line.split_once(' ').expect("a thread and its call");
        let name = &names[&id.parse().expect("a thread")];
        assert_eq!(name, "libuv-worker", "{call}");
        by_pool += 1;
    }
    assert!(by_pool > 1000, "{by_pool} system calls were traced");
}
