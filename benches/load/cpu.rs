//! What processes spent on the CPU, from /proc: the scheduler's nanoseconds where the kernel keeps them, else clock ticks.

use std::fs;

/// Seconds of CPU, user and system, of all threads of a process. None: it is gone.
pub fn seconds(pid: u32) -> Option<f64> {
    let mut nanoseconds = 0u64;
    for thread in fs::read_dir(format!("/proc/{pid}/task")).ok()?.flatten() {
        // A thread that has ended meanwhile is left out.
        let Ok(text) = fs::read_to_string(thread.path().join("schedstat")) else { continue };
        nanoseconds += text.split(' ').next().and_then(|word| word.parse::<u64>().ok()).unwrap_or(0);
    }
    if nanoseconds > 0 { Some(nanoseconds as f64 / 1e9) } else { ticks(pid) }
}

fn ticks(pid: u32) -> Option<f64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks: u64 = fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?;
    Some(ticks as f64 / rustix::param::clock_ticks_per_second() as f64)
}
