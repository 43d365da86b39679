//! The pages for users: every command in a `console` block is run, and has to print what stands there.
//!
//! Lines that begin with `$ ` are commands; what follows, up to the next one, is what they print on both outputs. Lines that begin with `# ` need root: they
//! are run where there is what privileged tests need, and else left alone, with what follows them. The kernel's release may be another one than the page's. A page's commands run one after the other in a folder of its own, with the repository's `docs` and
//! `scenarios` beside it. A block right after a line that is a file's name in backquotes and a colon is that file.
//!
//! `PKTWALK_WRITE_DOCS=1` writes what is printed into the pages.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use pktwalk_skip::{missing_privilege, skip};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// A page's folder, empty.
fn folder(page: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("page-{page}"));
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).expect("folder");
    for name in ["docs", "scenarios"] {
        symlink(root().join(name).canonicalize().expect("it is there"), folder.join(name)).expect("link");
    }
    folder
}

fn run(folder: &Path, command: &str) -> String {
    let program = Path::new(env!("CARGO_BIN_EXE_pktwalk")).parent().expect("its folder");
    let path = format!("{}:{}", program.display(), std::env::var("PATH").unwrap_or_default());
    let output = Command::new("sh")
        .args(["-c", &format!("exec 2>&1\n{command}")])
        .current_dir(folder)
        .env("PATH", path)
        .env_remove("COLUMNS")
        .output()
        .expect("sh runs");
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// The page with what its commands print now. Without `privileged`, those that need root are not run.
fn printed(folder: &Path, text: &str, privileged: bool) -> String {
    let mut page = String::new();
    let mut lines = text.lines().peekable();
    let mut file: Option<String> = None;
    while let Some(line) = lines.next() {
        page.push_str(line);
        page.push('\n');
        let block = line.strip_prefix("```").filter(|kind| !kind.is_empty());
        match block {
            Some("console") => {
                while let Some(line) = lines.next_if(|line| *line != "```") {
                    page.push_str(line);
                    page.push('\n');
                    let rooted = line.strip_prefix("# ").filter(|_| privileged);
                    let Some(command) = line.strip_prefix("$ ").or(rooted) else { continue };
                    let mut command = command.to_owned();
                    while command.ends_with('\\')
                        && let Some(more) = lines.next()
                    {
                        page.push_str(more);
                        page.push('\n');
                        command.push('\n');
                        command.push_str(more);
                    }
                    let ends = |line: &str| line == "```" || line.starts_with("$ ") || line.starts_with("# ");
                    while lines.next_if(|line| !ends(line)).is_some() {}
                    page.push_str(&run(folder, &command));
                }
            }
            Some(_) => {
                let mut content = String::new();
                while let Some(line) = lines.next_if(|line| *line != "```") {
                    content.push_str(line);
                    content.push('\n');
                }
                if let Some(name) = file.take() {
                    let path = folder.join(name);
                    fs::create_dir_all(path.parent().expect("a folder")).expect("folder");
                    fs::write(path, &content).expect("file");
                }
                page.push_str(&content);
            }
            None => {
                if !line.is_empty() {
                    let name = line.strip_prefix('`').and_then(|rest| rest.strip_suffix("`:"));
                    file = name.map(str::to_owned);
                }
                continue;
            }
        }
        if let Some(end) = lines.next() {
            page.push_str(end);
            page.push('\n');
        }
    }
    page
}

/// A line in which a kernel's release is left out (`kernel 6.18.0, ...`, `kernel: 6.18.0 (...)`), and the events that generated rulesets came to
/// (`7 events compared`): every change of the generator makes others.
fn any_kernel(line: &str) -> String {
    let mut words = Vec::new();
    let mut before = "";
    let generated = line.contains(" events compared; ");
    for word in line.split(' ') {
        let release =
            matches!(before, "kernel" | "kernel:") && word.starts_with(|c: char| c.is_ascii_digit());
        if generated && word == "events" {
            words.pop();
        }
        words.push(if release { if word.ends_with(',') { "RELEASE," } else { "RELEASE" } } else { word });
        before = word;
    }
    words.join(" ")
}

fn check(name: &str) {
    let path = root().join("docs").join(format!("{name}.md"));
    let text = fs::read_to_string(&path).expect("the page is there");
    assert!(text.contains("```console\n") && text.contains("\n$ pktwalk"), "{name} runs nothing");
    let rooted = text.contains("\n# pktwalk");
    let missing = missing_privilege().filter(|_| rooted);
    let now = printed(&folder(name), &text, missing.is_none());
    if std::env::var("PKTWALK_WRITE_DOCS").as_deref() == Ok("1") {
        fs::write(&path, &now).expect("the page is written");
        return;
    }
    if let Some(why) = missing {
        // The rest of the page is looked at all the same.
        skip(&format!("commands of docs/{name}.md that need root"), &why);
    }
    for (number, (old, new)) in text.lines().zip(now.lines()).enumerate() {
        let (old, new) = (any_kernel(old), any_kernel(new));
        assert_eq!(old, new, "docs/{name}.md:{} (PKTWALK_WRITE_DOCS=1 writes it)", number + 1);
    }
    assert_eq!(text.lines().count(), now.lines().count(), "docs/{name}.md");
}

/// The script of the page that collects a bundle, on a node that has these tools, beside those of every system.
fn collected(name: &str, tools: &[&str]) -> (Vec<String>, String) {
    use std::os::unix::fs::PermissionsExt;
    let page = fs::read_to_string(root().join("docs/bundles.md")).expect("the page is there");
    let script = page.split("```sh\n").nth(1).and_then(|rest| rest.split("```").next()).expect("a script");
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("collect-{name}"));
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(folder.join("bin")).expect("folder");
    for tool in tools {
        let path = folder.join("bin").join(tool);
        fs::write(&path, format!("#!/bin/sh\necho {tool}\n")).expect("file");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("mode");
    }
    let own = std::env::var_os("PATH").unwrap_or_default();
    for tool in ["sh", "mkdir", "rm", "cat", "uname", "sed"] {
        let found = std::env::split_paths(&own).map(|at| at.join(tool)).find(|at| at.exists());
        symlink(found.expect(tool), folder.join("bin").join(tool)).expect("link");
    }
    let output = Command::new(folder.join("bin/sh"))
        .args(["-c", script, "collect.sh", "out"])
        .current_dir(&folder)
        .env("PATH", folder.join("bin"))
        .output()
        .expect("sh runs");
    let of = |file: &str| {
        Some(format!("{file}: {}", fs::read_to_string(folder.join("out").join(file)).ok()?.trim()))
    };
    let rules = ["iptables-save", "iptables-legacy-save"].into_iter().filter_map(of).collect();
    (rules, String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn rules_are_collected_by_whatever_tool_the_node_has() {
    let both = ["iptables-save", "iptables-nft-save", "iptables-legacy-save"];
    let (rules, _) = collected("both", &both);
    assert_eq!(rules, ["iptables-save: iptables-nft-save", "iptables-legacy-save: iptables-legacy-save"]);
    let (rules, said) = collected("old", &both[..1]);
    assert_eq!(rules, ["iptables-save: iptables-save"], "{said}");
    assert!(said.contains("rules by iptables-save"), "{said}");
    assert_eq!(collected("legacy", &[both[0], both[2]]).0, ["iptables-legacy-save: iptables-legacy-save"]);
}

#[test]
fn using() {
    check("using");
}

#[test]
fn scenarios() {
    check("scenarios");
}

#[test]
fn bundles() {
    check("bundles");
}
