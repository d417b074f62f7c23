//! The programs under test, built now from the sources as they are.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The program of this name, built with all others by the first test that asks for one.
pub fn program(name: &str) -> PathBuf {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(build).join(name)
}

/// The target directory this very test was built into.
pub fn target_directory() -> PathBuf {
    profile_directory().parent().unwrap().to_path_buf()
}

fn profile_directory() -> PathBuf {
    let own = std::env::current_exe().unwrap();
    let directory = own.parent().unwrap();
    if directory.ends_with("deps") {
        directory.parent().unwrap().to_path_buf()
    } else {
        directory.to_path_buf()
    }
}

fn build() -> PathBuf {
    let profile = profile_directory();
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
    let mut command = Command::new(cargo);
    command.args(["build", "--quiet", "--locked", "--workspace", "--bins", "--manifest-path"]);
    command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("../Cargo.toml"));
    command.arg("--target-dir").arg(target_directory());
    // Cargo describes this package to its tests. Build scripts that look there would run anew, here and in the next build.
    for (name, _) in std::env::vars_os() {
        let described = ["CARGO_MANIFEST_", "CARGO_PKG_"];
        if described.iter().any(|start| name.to_string_lossy().starts_with(start)) {
            command.env_remove(name);
        }
    }
    if profile.ends_with("release") {
        command.arg("--release");
    }
    assert!(command.status().unwrap().success(), "the programs do not build");
    profile
}
