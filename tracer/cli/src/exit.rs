//! Exit codes: scripts depend on them.

use std::process::ExitCode;

use pktwalk_linux::reason::Disposition;

/// How the program ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Exit {
    /// Every packet arrived, every expectation was met, the engines agree.
    Ok = 0,
    /// A packet did not arrive, an expectation was not met, the engines differ.
    Bad = 1,
    /// Wrong usage, unreadable input, a missing tool or privilege.
    Usage = 2,
    /// What became of a packet is not known, or the kernel could not confirm it.
    Unknown = 3,
    /// A bug.
    Internal = 4,
}

impl Exit {
    /// Of one packet.
    pub fn of(disposition: Disposition) -> Exit {
        match disposition {
            Disposition::Delivered | Disposition::Forwarded | Disposition::Consumed => Exit::Ok,
            Disposition::Dropped | Disposition::Rejected | Disposition::Loop | Disposition::LimitReached => {
                Exit::Bad
            }
            Disposition::Unknown => Exit::Unknown,
        }
    }

    /// The worse of two, in the order 4 > 2 > 3 > 1 > 0.
    pub fn worse(self, other: Exit) -> Exit {
        let rank = |exit| match exit {
            Exit::Ok => 0,
            Exit::Bad => 1,
            Exit::Unknown => 2,
            Exit::Usage => 3,
            Exit::Internal => 4,
        };
        if rank(other) > rank(self) { other } else { self }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit as u8)
    }
}

/// Makes a panic end the program with [`Exit::Internal`], on whatever thread it happens.
pub fn on_panic() {
    let told = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        told(info);
        eprintln!("pktwalk: this is a bug in pktwalk; please report it with the command and its input");
        std::process::exit(i32::from(Exit::Internal as u8));
    }));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_packet_counts() {
        let order = [Exit::Ok, Exit::Bad, Exit::Unknown, Exit::Usage, Exit::Internal];
        for (at, low) in order.iter().enumerate() {
            for high in &order[at..] {
                assert_eq!((low.worse(*high), high.worse(*low)), (*high, *high));
            }
        }
    }
}
