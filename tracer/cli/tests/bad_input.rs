//! Broken input at the command line: what cannot be read ends with code 2 and a remark, and never in a panic.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

const PACKET: &str = "tcp 203.0.113.5:40000 > 192.168.50.1:8080 flags=S";

fn demo() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scenarios/demo/bundle")
}

fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("bad_input").join(name);
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).expect("folder");
    folder
}

fn run(args: &[&str]) -> (i32, String) {
    let output: Output = Command::new(env!("CARGO_BIN_EXE_pktwalk"))
        .args(args)
        .stdin(Stdio::null())
        .output()
        .expect("pktwalk runs");
    let err = String::from_utf8_lossy(&output.stderr).into_owned();
    (output.status.code().expect("it was not killed"), err)
}

fn trace(bundle: &Path, more: &[&str]) -> (i32, String) {
    let bundle = bundle.display().to_string();
    run(&[&["trace", "--bundle", bundle.as_str(), "--at", "eth0"], more].concat())
}

#[test]
fn what_cannot_be_read_ends_with_2() {
    let empty = folder("empty");
    let rubbish = folder("rubbish").join("file.tar.gz");
    fs::write(&rubbish, [0x1f, 0x8b, 8, 0, 1, 2, 3]).expect("file");
    let text = folder("text").join("bundle.tar");
    fs::write(&text, "no archive").expect("file");
    for bundle in [empty.as_path(), &rubbish, &text, Path::new("/nonexistent/bundle")] {
        let (code, err) = trace(bundle, &["-p", PACKET]);
        assert_eq!(code, 2, "{}: {err}", bundle.display());
        assert!(err.contains(&bundle.display().to_string()), "{err}");
    }
    assert!(trace(&text, &["-p", PACKET]).1.contains("neither a folder nor a tar"));
    for packet in ["", "tcp", "tcp 1.2.3.4 > 5.6.7.8", "\u{fffd}", "tcp 1.2.3.4:99999 > 5.6.7.8:1"] {
        let (code, err) = trace(&demo(), &["-p", packet]);
        assert_eq!(code, 2, "`{packet}`: {err}");
    }
    let captures = folder("captures");
    for (name, bytes) in [
        ("empty", &b""[..]),
        ("text", b"no capture at all"),
        ("short", &[0xd4, 0xc3, 0xb2, 0xa1, 2, 0]),
        ("ng", &[0x0a, 0x0d, 0x0d, 0x0a, 0xff, 0xff, 0xff, 0xff, 0x4d, 0x3c, 0x2b, 0x1a]),
    ] {
        let file = captures.join(name);
        fs::write(&file, bytes).expect("file");
        let (code, err) = trace(&demo(), &["--pcap", &file.display().to_string()]);
        assert_eq!(code, 2, "capture {name}: {err}");
    }
}

/// A file that is larger than what is read of one, and takes no room.
fn sparse(file: &Path) {
    fs::File::create(file).and_then(|file| file.set_len((2 << 30) + 1)).expect("a sparse file");
}

#[test]
fn what_is_too_large_is_refused_unread() {
    let bundle = folder("large");
    for name in ["ip-link.json", "ip-addr.json", "ip-route.json"] {
        fs::copy(demo().join(name), bundle.join(name)).expect("file");
    }
    for name in ["iptables-save", "ss", "ipset-save", "netns/web/sysctl"] {
        fs::create_dir_all(bundle.join("netns/web")).expect("folder");
        sparse(&bundle.join(name));
    }
    let (_, err) = trace(&bundle, &["-p", PACKET]);
    for name in ["iptables-save", "ss", "ipset-save"] {
        assert!(err.contains(&format!("{name}: error: cannot be read: larger than 2 GiB")), "{name}: {err}");
    }
    let capture = folder("large-capture").join("all.pcap");
    sparse(&capture);
    let (code, err) = trace(&demo(), &["--pcap", &capture.display().to_string()]);
    assert_eq!(code, 2);
    assert!(err.contains("larger than 2 GiB"), "{err}");
}

#[test]
fn broken_files_of_a_bundle_are_named_and_do_not_panic() {
    let names: Vec<String> = fs::read_dir(demo())
        .expect("the demo has a bundle")
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    for broken in &names {
        for (how, bytes) in [
            ("cut", None),
            ("no-utf8", Some(b"\xff\xfe\xff\n".repeat(9))),
            ("empty", Some(Vec::new())),
            ("braces", Some(b"[{".repeat(5000))),
        ] {
            let bundle = folder(&format!("{broken}-{how}"));
            for name in &names {
                let whole = fs::read(demo().join(name)).expect("file");
                let bytes = match &bytes {
                    _ if name != broken => whole,
                    Some(bytes) => bytes.clone(),
                    None => whole[..whole.len() / 2].to_vec(),
                };
                fs::write(bundle.join(name), bytes).expect("file");
            }
            let (code, err) = trace(&bundle, &["-p", PACKET]);
            assert!((0..=3).contains(&code), "{broken} {how}: exit {code}: {err}");
            assert!(!err.contains("panicked"), "{broken} {how}: {err}");
        }
    }
}
