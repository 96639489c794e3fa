//! Memory that is of no more use goes back to the system. What clients took stays in glibc's lists when they leave: its
//! heaps shrink at their ends alone, and there lies what lives longer.

/// So many clients must have left since there were most: a megabyte or more lies idle.
const LEFT_MIN: usize = 200;

/// Decides when to give memory back, from how many clients there are.
#[derive(Debug, Default)]
pub struct Memory {
    most: usize,
    last: usize,
}

impl Memory {
    /// There are so many clients now; called now and then. Returns whether to [`give_back`]: most of them left, and no more
    /// are leaving.
    pub fn is_idle(&mut self, clients: usize) -> bool {
        self.most = self.most.max(clients);
        let settled = clients >= std::mem::replace(&mut self.last, clients);
        let is_idle = settled && self.most - clients >= LEFT_MIN.max(clients);
        if is_idle {
            self.most = clients;
        }
        is_idle
    }
}

/// What is larger is given back elsewhere: the system takes a millisecond for so much, in which all of a worker would wait.
const LARGE_BYTES: usize = 16 * 1024 * 1024;

/// Drops this, which has so many bytes, in a thread of its own where they are many.
pub fn drop_large<T: Send + 'static>(bytes: usize, what: T) {
    if bytes > LARGE_BYTES {
        // Where no thread can be had it is dropped here.
        let _ = std::thread::Builder::new().name("memory".to_owned()).spawn(move || drop(what));
    }
}

/// Gives back what is free: a few milliseconds, in which others may wait for a block.
pub fn give_back() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    glibc::give_back();
}

/// The only unsafe code: glibc has no other way. `malloc_trim(3)` is safe to call at any time and from any thread, takes a
/// size and returns an int.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[allow(unsafe_code, reason = "a declaration of one function of glibc")]
mod glibc {
    unsafe extern "C" {
        safe fn malloc_trim(pad: usize) -> std::ffi::c_int;
    }

    pub(super) fn give_back() {
        malloc_trim(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_given_back_once_after_most_clients_left() {
        let mut memory = Memory::default();
        let seen = [0, 10_000, 10_000, 6_000, 6_000, 300, 100, 100, 100, 50, 50, 400, 60, 60, 60];
        let given: Vec<usize> = (0..seen.len()).filter(|&at| memory.is_idle(seen[at])).collect();
        assert_eq!(given, [7, 13]);
    }
}
