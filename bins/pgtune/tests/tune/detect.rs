//! Detection below a fixture's root: control groups of both versions, CPUs, disks, volumes, version.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use crate::common::codes;
use pgtune::config::Disk;
use pgtune::facts::{self, Certainty, Confinement, Facts, Place, ServerFacts, Share};
use pgtune::tune::{self, Plan};
use sluice_unix::machine;
use tempfile::TempDir;

const GB: u64 = 1 << 20;

const V2_MOUNT: &str = "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n";
const V1_MOUNTS: &str = "\
31 23 0:27 / /sys/fs/cgroup/memory rw shared:5 - cgroup cgroup rw,memory
32 23 0:28 / /sys/fs/cgroup/cpu,cpuacct rw shared:6 - cgroup cgroup rw,cpu,cpuacct
";

/// A root to look below.
struct Root(TempDir);

impl Root {
    /// 16GB and 8 CPUs, nothing else.
    fn new() -> Self {
        let root = Self(tempfile::tempdir().unwrap());
        let root = root.file(
            "proc/meminfo",
            "MemTotal:       16777216 kB\nMemFree: 1 kB\nHugepagesize:       2048 kB\n",
        );
        root.file("proc/self/status", "Name:\tpgtune\nCpus_allowed:\t00000000,000000ff\n")
    }

    fn file(self, path: &str, text: &str) -> Self {
        let path = self.0.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
        self
    }

    /// Version 2, with this process in `/a/b`.
    fn v2(self) -> Self {
        let root = self.file("proc/self/cgroup", "0::/a/b\n").file("proc/self/mountinfo", V2_MOUNT);
        fs::create_dir_all(root.0.path().join("sys/fs/cgroup/a/b")).unwrap();
        root
    }

    /// Version 1, with this process in `/a/b`.
    fn v1(self) -> Self {
        let own = "5:memory:/a/b\n4:cpu,cpuacct:/a/b\n1:name=systemd:/x\n";
        let root = self.file("proc/self/cgroup", own).file("proc/self/mountinfo", V1_MOUNTS);
        for controller in ["memory", "cpu,cpuacct"] {
            fs::create_dir_all(root.0.path().join("sys/fs/cgroup").join(controller).join("a/b")).unwrap();
        }
        root
    }

    fn plan(&self, arguments: &str) -> Plan {
        crate::common::plan(&format!("{arguments} --sysroot {}", self.0.path().display()))
    }

    fn facts(&self) -> Facts {
        self.plan("").facts
    }

    /// Memory in kB, and where from.
    fn memory(&self) -> (u64, String) {
        let memory = self.facts().memory_kb;
        (memory.value, memory.from.into_owned())
    }

    /// CPUs in thousandths, and where from.
    fn cpus(&self) -> (u64, String) {
        let cpus = self.facts().cpus_milli.unwrap();
        (cpus.value, cpus.from.into_owned())
    }
}

const V2: &str = "cgroup v2 memory.max";
const V1: &str = "cgroup v1 memory.limit_in_bytes";
const MACHINE: &str = "/proc/meminfo MemTotal";

fn is(memory: (u64, String), kb: u64, from: &str) {
    assert_eq!(memory, (kb, from.to_owned()));
}

#[test]
fn without_groups_the_machine_counts() {
    is(Root::new().memory(), 16 * GB, MACHINE);
    is(Root::new().v2().memory(), 16 * GB, MACHINE);
    is(Root::new().v1().memory(), 16 * GB, MACHINE);
    assert_eq!(Root::new().cpus(), (8000, "affinity mask".to_owned()));
}

#[test]
fn version_2_limits() {
    let limited = |text: &str| Root::new().v2().file("sys/fs/cgroup/a/b/memory.max", text).memory();
    is(limited("2147483648\n"), 2 * GB, V2);
    // More than the machine has is no limit, and none of these is one.
    for text in [
        "34359738368\n",
        "max\n",
        "",
        "0\n",
        "garbage\n",
        "-1\n",
        "2147483648 2\n",
        "99999999999999999999999\n",
    ] {
        is(limited(text), 16 * GB, MACHINE);
    }
}

#[test]
fn a_smaller_ancestor_counts() {
    let root = || Root::new().v2().file("sys/fs/cgroup/a/b/memory.max", "8589934592\n");
    is(root().memory(), 8 * GB, V2);
    is(root().file("sys/fs/cgroup/a/memory.max", "4294967296\n").memory(), 4 * GB, V2);
    is(root().file("sys/fs/cgroup/a/memory.max", "max\n").memory(), 8 * GB, V2);
    is(root().file("sys/fs/cgroup/memory.max", "2147483648\n").memory(), 2 * GB, V2);
    // Not of us: a sibling, and what is above the mount.
    is(root().file("sys/fs/cgroup/c/memory.max", "1073741824\n").memory(), 8 * GB, V2);
    is(root().file("sys/fs/memory.max", "1073741824\n").memory(), 8 * GB, V2);
}

#[test]
fn a_container_with_a_namespace_of_its_own_sees_its_group_as_the_top() {
    // The path of the host is not there, or lies above.
    for own in ["0::/system.slice/docker-4f.scope\n", "0::/../../x\n", "0::/a/../../x\n", "0::/\n"] {
        let root = Root::new().v2().file("proc/self/cgroup", own);
        let root =
            root.file("sys/fs/cgroup/memory.max", "2147483648\n").file("sys/x/memory.max", "1073741824\n");
        is(root.memory(), 2 * GB, V2);
    }
    // A bind mount of one group: its path on the host begins with the top of the mount.
    let mount = "30 23 0:26 /docker/4f /sys/fs/cgroup ro - cgroup2 cgroup rw\n";
    let root =
        Root::new().v2().file("proc/self/mountinfo", mount).file("proc/self/cgroup", "0::/docker/4f/inner\n");
    let root = root.file("sys/fs/cgroup/memory.max", "4294967296\n");
    is(root.file("sys/fs/cgroup/inner/memory.max", "2147483648\n").memory(), 2 * GB, V2);
}

#[test]
fn version_1_limits() {
    let limited =
        |text: &str| Root::new().v1().file("sys/fs/cgroup/memory/a/b/memory.limit_in_bytes", text).memory();
    is(limited("2147483648\n"), 2 * GB, V1);
    for text in ["9223372036854771712\n", "4611686018427387904\n", "0\n", "-1\n", "\n", "max\n"] {
        is(limited(text), 16 * GB, MACHINE);
    }
    let root = Root::new().v1().file("sys/fs/cgroup/memory/a/b/memory.limit_in_bytes", "8589934592\n");
    is(root.file("sys/fs/cgroup/memory/a/memory.limit_in_bytes", "4294967296\n").memory(), 4 * GB, V1);
}

#[test]
fn hybrid_hosts_have_both() {
    let root = |v1: &str, v2: &str| {
        let mounts = format!("{V1_MOUNTS}33 23 0:29 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n");
        let own = "5:memory:/a/b\n4:cpu,cpuacct:/a/b\n0::/c\n";
        let root = Root::new().v1().file("proc/self/mountinfo", &mounts).file("proc/self/cgroup", own);
        let root = root.file("sys/fs/cgroup/memory/a/b/memory.limit_in_bytes", v1);
        root.file("sys/fs/cgroup/unified/c/memory.max", v2)
    };
    is(root("2147483648\n", "max\n").memory(), 2 * GB, V1);
    is(root("4294967296\n", "2147483648\n").memory(), 2 * GB, V2);
    is(root("9223372036854771712\n", "max\n").memory(), 16 * GB, MACHINE);
}

#[test]
fn what_is_broken_limits_nothing() {
    for (own, mounts) in [
        ("", ""),
        ("0::/a/b\n", ""),
        ("", V2_MOUNT),
        ("garbage\n:\n::\n0:\n", "garbage\n - \n1 2 3\n"),
        ("0::/a/b\n", "30 23 0:26 / /elsewhere rw - cgroup2 cgroup2 rw\n"),
    ] {
        let root = Root::new().v2().file("proc/self/cgroup", own).file("proc/self/mountinfo", mounts);
        is(root.file("sys/fs/cgroup/a/b/memory.max", "2147483648\n").memory(), 16 * GB, MACHINE);
    }
    let error =
        |root: &Root| crate::common::try_plan(&["--sysroot", root.0.path().to_str().unwrap()]).unwrap_err();
    for meminfo in ["", "MemTotal: 0 kB\n", "MemTotal: lots\n", "MemTotal: 16777216\n"] {
        let root = Root::new().file("proc/meminfo", meminfo);
        assert!(error(&root).contains("give --memory"), "{}", error(&root));
    }
    let absurd = Root::new().file("proc/meminfo", "MemTotal: 18446744073709551615 kB\n");
    assert!(
        error(&absurd).contains("(/proc/meminfo MemTotal): expected a size from 64MB"),
        "{}",
        error(&absurd)
    );
    let mask = format!("Cpus_allowed:\t{}ff\n", "ffffffff,".repeat(1000));
    assert_eq!(Root::new().file("proc/self/status", &mask).cpus().0, 4_096_000);
    // A limit may stand in for a missing figure of the machine.
    let root = Root::new().v2().file("proc/meminfo", "").file("sys/fs/cgroup/memory.max", "2147483648\n");
    is(root.memory(), 2 * GB, V2);
    let small = Root::new().v2().file("sys/fs/cgroup/memory.max", "33554432\n");
    assert!(
        error(&small).contains("memory 32MB (cgroup v2 memory.max): expected a size from 64MB to 64TB"),
        "{}",
        error(&small)
    );
}

/// A pipe would keep whoever opens it; a directory, a loop of links and a device are no files either.
#[test]
fn what_is_no_file_tells_nothing() {
    let paths = [
        "proc/meminfo",
        "proc/self/status",
        "proc/self/cgroup",
        "proc/self/mountinfo",
        "sys/fs/cgroup/a/b/memory.max",
        "sys/fs/cgroup/a/b/cpu.max",
    ];
    for path in paths {
        let make: [fn(&Path); 4] = [
            |path| assert!(Command::new("mkfifo").arg(path).status().unwrap().success()),
            |path| fs::create_dir(path).unwrap(),
            |path| symlink(path.file_name().unwrap(), path).unwrap(),
            |path| symlink("/dev/zero", path).unwrap(),
        ];
        for make in make {
            let root = Root::new().v2();
            let _ = fs::remove_file(root.0.path().join(path));
            make(&root.0.path().join(path));
            let facts = root.plan("--memory 2GB").facts;
            assert_eq!((facts.memory_kb.value, facts.confinement), (2 * GB, Confinement::None), "{path}");
        }
    }
}

#[test]
fn memory_high_is_told() {
    let root = Root::new().v2().file("sys/fs/cgroup/a/b/memory.max", "4294967296\n");
    let root = root.file("sys/fs/cgroup/a/memory.high", "3221225472\n");
    let plan = root.plan("");
    assert_eq!(plan.facts.memory_high_kb, Some(3 * GB));
    assert!(codes(&plan).contains(&"memory-high"));
    let plan = root.file("sys/fs/cgroup/a/memory.high", "max\n").plan("");
    assert!(!codes(&plan).contains(&"memory-high"));
}

#[test]
fn shares_of_cpus() {
    let v2 = |text: &str| Root::new().v2().file("sys/fs/cgroup/a/b/cpu.max", text).cpus();
    assert_eq!(v2("150000 100000\n"), (1500, "cgroup v2 cpu.max".to_owned()));
    for text in
        ["max 100000\n", "", "150000\n", "0 100000\n", "100 0\n", "x y\n", "900000 100000\n", "-1 100000\n"]
    {
        assert_eq!(v2(text), (8000, "affinity mask".to_owned()), "{text:?}");
    }
    let root = Root::new().v2().file("sys/fs/cgroup/a/b/cpu.max", "400000 100000\n");
    assert_eq!(root.file("sys/fs/cgroup/a/cpu.max", "50000 100000\n").cpus().0, 500);

    let v1 = |quota: &str| {
        let root = Root::new().v1().file("sys/fs/cgroup/cpu,cpuacct/a/b/cpu.cfs_quota_us", quota);
        root.file("sys/fs/cgroup/cpu,cpuacct/a/b/cpu.cfs_period_us", "100000\n").cpus()
    };
    assert_eq!(v1("250000\n"), (2500, "cgroup v1 cpu.cfs_quota_us".to_owned()));
    assert_eq!(v1("-1\n"), (8000, "affinity mask".to_owned()));
}

#[test]
fn half_a_cpu_still_works() {
    let plan = Root::new().v2().file("sys/fs/cgroup/a/b/cpu.max", "50000 100000\n").plan("--profile dw");
    assert!(plan.setting("max_parallel_workers").is_none());
}

/// The block device a directory of this machine is on, made to be `name` with these files, below a root.
struct Block {
    root: Root,
    data: TempDir,
}

impl Block {
    fn new() -> Self {
        Self { root: Root::new(), data: tempfile::tempdir().unwrap() }
    }

    /// A device below /sys/devices, as a whole disk or a partition; its rotational flag.
    fn disk(self, path: &str, rotational: &str) -> Self {
        let root = self.root.file(&format!("sys/devices/{path}/queue/rotational"), rotational);
        Self { root, ..self }
    }

    fn partition(self, path: &str) -> Self {
        let root = self.root.file(&format!("sys/devices/{path}/partition"), "1\n");
        Self { root, ..self }
    }

    fn slave(self, of: &str, path: &str) -> Self {
        let slaves = self.root.0.path().join("sys/devices").join(of).join("slaves");
        fs::create_dir_all(&slaves).unwrap();
        let name = Path::new(path).file_name().unwrap();
        symlink(self.root.0.path().join("sys/devices").join(path), slaves.join(name)).unwrap();
        self
    }

    /// What the data directory, being on this device, is taken to be on.
    fn detect(&self, path: &str) -> (Disk, Certainty, String) {
        let device = machine::device(self.data.path()).unwrap();
        let links = self.root.0.path().join("sys/dev/block");
        fs::create_dir_all(&links).unwrap();
        let link = links.join(format!("{}:{}", device.major, device.minor));
        symlink(self.root.0.path().join("sys/devices").join(path), link).unwrap();
        let facts = self.root.plan(&format!("--data-dir {}", self.data.path().display())).facts;
        (facts.disk.value, facts.disk_certainty, facts.disk.from.into_owned())
    }
}

#[test]
fn disks_by_what_the_kernel_says() {
    for (name, rotational, disk, certainty) in [
        ("nvme0n1", "0\n", Disk::Nvme, Certainty::Known),
        ("sda", "0\n", Disk::Ssd, Certainty::Known),
        ("sda", "1\n", Disk::Hdd, Certainty::Known),
        ("vda", "0\n", Disk::Ssd, Certainty::Known),
        ("vda", "1\n", Disk::Ssd, Certainty::Assumed),
        ("xvdb", "1\n", Disk::Ssd, Certainty::Assumed),
        ("sda", "", Disk::Ssd, Certainty::Assumed),
        ("sda", "x\n", Disk::Ssd, Certainty::Assumed),
    ] {
        let found = Block::new().disk(name, rotational).detect(name);
        assert_eq!((found.0, found.1), (disk, certainty), "{name} {rotational:?}: {}", found.2);
    }
}

#[test]
fn partitions_and_stacked_devices() {
    let found =
        Block::new().disk("nvme0n1", "0\n").partition("nvme0n1/nvme0n1p2").detect("nvme0n1/nvme0n1p2");
    assert_eq!(found, (Disk::Nvme, Certainty::Known, "device nvme0n1".into()));

    let dm = Block::new().disk("nvme0n1", "0\n").partition("nvme0n1/nvme0n1p2").disk("virtual/dm-0", "0\n");
    let found = dm.slave("virtual/dm-0", "nvme0n1/nvme0n1p2").detect("virtual/dm-0");
    assert_eq!(found, (Disk::Nvme, Certainty::Known, "device dm-0 on nvme0n1".into()));

    // The slowest of an array counts.
    let md = Block::new().disk("nvme0n1", "0\n").disk("sdb", "1\n").disk("virtual/md0", "0\n");
    let found = md.slave("virtual/md0", "nvme0n1").slave("virtual/md0", "sdb").detect("virtual/md0");
    assert_eq!((found.0, found.1), (Disk::Hdd, Certainty::Known), "{}", found.2);

    // A loop of slaves ends.
    let knot = Block::new().disk("virtual/dm-1", "0\n").slave("virtual/dm-1", "virtual/dm-1");
    assert_eq!(knot.detect("virtual/dm-1").0, Disk::Ssd);
    // So do thirty devices that all stand on each other: 30 factorial ways.
    let names: Vec<String> = (0..30).map(|n| format!("virtual/dm-{n}")).collect();
    let disks = names.iter().fold(Block::new(), |block, name| block.disk(name, "0\n"));
    let pairs = names.iter().flat_map(|of| names.iter().map(move |on| (of, on)));
    let tangle = pairs.fold(disks, |block, (of, on)| block.slave(of, on));
    assert_eq!(tangle.detect("virtual/dm-0").0, Disk::Ssd);
}

#[test]
fn a_device_only_the_mounts_know() {
    let block = Block::new().disk("sdc", "1\n").partition("sdc/sdc1");
    let device = machine::device(block.data.path()).unwrap();
    let mounts = format!("9 8 {}:{} / /data rw - btrfs /dev/sdc1 rw\n", device.major, device.minor);
    let root = block.root.file("proc/self/mountinfo", &mounts);
    let class = root.0.path().join("sys/class/block");
    fs::create_dir_all(&class).unwrap();
    symlink("../../devices/sdc/sdc1", class.join("sdc1")).unwrap();
    let facts = root.plan(&format!("--data-dir {}", block.data.path().display())).facts;
    assert_eq!(facts.disk.value, Disk::Hdd);
}

#[test]
fn an_unknown_disk_is_told() {
    let plan = Root::new().plan("");
    assert_eq!((plan.facts.disk.value, plan.facts.disk_certainty), (Disk::Ssd, Certainty::Assumed));
    assert!(codes(&plan).contains(&"disk-assumed"));
    assert!(!codes(&Root::new().plan("--disk hdd")).contains(&"disk-assumed"));
    // A directory that is not there tells nothing.
    assert!(codes(&Root::new().plan("--data-dir /no/such")).contains(&"disk-assumed"));
}

#[test]
fn the_data_directory_tells_version_and_volumes() {
    let data = tempfile::tempdir().unwrap();
    fs::create_dir(data.path().join("pg_wal")).unwrap();
    fs::write(data.path().join("PG_VERSION"), "15\n").unwrap();
    let arguments = format!("--data-dir {}", data.path().display());
    let plan = Root::new().plan(&arguments);
    assert_eq!((plan.major(), plan.facts.major.from.as_ref()), (15, "PG_VERSION"));
    let free = machine::space(data.path()).unwrap().available_bytes / 1024;
    let wal = plan.facts.wal.unwrap().value;
    assert_eq!(wal.share, Share::Shared);
    assert!(wal.kb.abs_diff(free) < free / 10 + 1024, "{} and {free}", wal.kb);
    let guards = Root::new().plan(&format!("{arguments} --extras guards"));
    assert!(guards.setting("temp_file_limit").is_some());

    assert_eq!(Root::new().plan(&format!("{arguments} --pg-version 14")).major(), 14);
    fs::write(data.path().join("PG_VERSION"), "11\n").unwrap();
    let root = Root::new();
    let words = ["--data-dir", data.path().to_str().unwrap(), "--sysroot", root.0.path().to_str().unwrap()];
    assert_eq!(
        crate::common::try_plan(&words).unwrap_err(),
        "PostgreSQL 11 (PG_VERSION): expected 12 to 18; --pg-version chooses one"
    );
    fs::write(data.path().join("PG_VERSION"), "fifteen\n").unwrap();
    assert_eq!(Root::new().plan(&arguments).major(), 18);
}

#[test]
fn a_volume_of_its_own_is_recognised_through_a_link() {
    // /dev/shm and /tmp are seldom on one file system; where they are, there is nothing to see.
    let (data, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir_in("/dev/shm").unwrap());
    symlink(elsewhere.path(), data.path().join("pg_wal")).unwrap();
    let wal = Root::new().plan(&format!("--data-dir {}", data.path().display())).facts.wal.unwrap().value;
    if machine::device(data.path()).unwrap() == machine::device(elsewhere.path()).unwrap() {
        return;
    }
    let total = machine::space(elsewhere.path()).unwrap().total_bytes / 1024;
    assert_eq!((wal.share, wal.kb), (Share::Dedicated, total));
}

#[test]
fn flags_beat_what_is_found() {
    let root = Root::new().v2().file("sys/fs/cgroup/memory.max", "2147483648\n");
    let facts = root.plan("--memory 4GB --cpus 3.5 --disk san --shm 1GB").facts;
    assert_eq!((facts.memory_kb.value, facts.memory_kb.from.as_ref()), (4 * GB, "--memory"));
    assert_eq!(facts.cpus_milli.unwrap().value, 3500);
    assert_eq!((facts.disk.value, facts.shm_kb.unwrap().value), (Disk::San, GB));
    assert_eq!(facts.huge_page_kb, Some(2048));
}

/// What this machine has is nothing to a server on another one.
#[test]
fn a_server_elsewhere() {
    let server = ServerFacts {
        major: 16,
        data_dir: None,
        wal_segment_kb: None,
        features: Vec::new(),
        place: Place::Elsewhere,
    };
    let facts = |arguments: &[&str]| {
        let request = crate::common::request(arguments).unwrap();
        facts::detect(&request, Some(&server)).map(|facts| tune::plan(&request.wishes, &facts))
    };
    let unknown = facts(&["--live"]).unwrap_err().to_string();
    assert!(unknown.contains("the memory of another machine is not known here: give --memory"), "{unknown}");
    let guessed = facts(&["--live", "--memory", "2GB"]).unwrap();
    assert_eq!(guessed.major(), 16);
    for code in ["cpus-assumed", "disk-assumed", "wal-disk-unknown"] {
        assert!(codes(&guessed).contains(&code), "{code}");
    }
    let told = facts(&["--live", "--memory", "2GB", "--cpus", "4", "--disk", "nvme"]).unwrap();
    assert!(!codes(&told).iter().any(|code| code.ends_with("-assumed")), "{:?}", codes(&told));
}
