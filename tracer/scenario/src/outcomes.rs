//! Every way that chance lets a case go: the walk again for each answer to each choice that the kernel makes at random.
//!
//! Enumerated are random `statistic` matches and the next hops of multipath routes, of the packets and of their replies. Ports of translations,
//! IP ids and the time of day have too many answers: they come from the case's seed.

use std::cell::RefCell;
use std::rc::Rc;

use pktwalk_linux::choice::{Choice, ChoicePoint, Seeded};
use pktwalk_linux::netns::NetNs;
use pktwalk_report::SendRecord;

use crate::case::Case;
use crate::engine::EngineError;
use crate::model::{Choices, Compiled, ModelEngine};

/// What `statistic` counts a probability in.
const WHOLE: u32 = 1 << 31;

/// One way for all packets of a case.
#[derive(Debug)]
pub struct Way {
    /// How likely it is, from 0 to 1.
    pub probability: f64,
    /// Its packets.
    pub sends: Vec<SendRecord>,
}

/// The ways of a case.
#[derive(Debug, Default)]
pub struct Ways {
    /// In the order of their answers: a match first, next hops as their route lists them.
    pub ways: Vec<Way>,
    /// Whether there are more, which were not walked.
    pub more: bool,
}

/// Walks every way of a case, until `most` packets have been walked.
///
/// # Errors
/// If a packet enters at a device that the namespace does not have.
pub fn all_ways(case: &Case, compiled: &Compiled, most: usize) -> Result<Ways, EngineError> {
    let mut found = Ways::default();
    let mut script = Vec::new();
    let mut walked = 0usize;
    loop {
        let path = Rc::new(RefCell::new(Path::new(std::mem::take(&mut script), case.seed)));
        let mut sends = Vec::new();
        ModelEngine::with_choices(Box::new(Asked(Rc::clone(&path)))).walk_each(case, compiled, |one| {
            sends.push(one.record);
            Ok::<(), EngineError>(())
        })?;
        walked = walked.saturating_add(sends.len().max(1));
        let path = path.borrow();
        found.ways.push(Way { probability: path.probability, sends });
        match path.next() {
            None => return Ok(found),
            Some(_) if walked >= most => {
                found.more = true;
                return Ok(found);
            }
            Some(next) => script = next,
        }
    }
}

/// The answers of one way.
struct Path {
    /// What is answered first: which of the answers, by position.
    script: Vec<u32>,
    /// What was answered, and of how many answers.
    answered: Vec<(u32, u32)>,
    probability: f64,
    /// Of choices that are not enumerated.
    seeded: Seeded,
}

impl Path {
    fn new(script: Vec<u32>, seed: u64) -> Path {
        Path { script, answered: Vec::new(), probability: 1.0, seeded: Seeded::new(seed) }
    }

    /// Which of `answers`.
    fn answer(&mut self, answers: u32) -> u32 {
        let answer = self.script.get(self.answered.len()).copied().unwrap_or(0);
        self.answered.push((answer, answers));
        answer
    }

    /// The script of the next way: the last choice that has an answer left.
    fn next(&self) -> Option<Vec<u32>> {
        let last = self.answered.iter().rposition(|(answer, answers)| answer + 1 < *answers)?;
        let mut script: Vec<u32> = self.answered.iter().take(last + 1).map(|(answer, _)| *answer).collect();
        *script.last_mut()? += 1;
        Some(script)
    }
}

/// Asks the path.
struct Asked(Rc<RefCell<Path>>);

impl Choice for Asked {
    fn choose(&mut self, point: ChoicePoint) -> u32 {
        let mut path = self.0.borrow_mut();
        match point {
            // Nothing is left to chance.
            ChoicePoint::Statistic { threshold: 0, .. } => 0,
            ChoicePoint::Statistic { threshold: WHOLE.., .. } => 1,
            ChoicePoint::Statistic { threshold, .. } => {
                let matches = path.answer(2) == 0;
                let share = f64::from(if matches { threshold } else { WHOLE - threshold });
                path.probability *= share / f64::from(WHOLE);
                u32::from(matches)
            }
            ChoicePoint::Nexthop { total, .. } if total > 1 => {
                path.probability /= f64::from(total);
                path.answer(total)
            }
            ChoicePoint::Nexthop { .. } => 0,
            ChoicePoint::NatPort { .. } | ChoicePoint::IpId | ChoicePoint::TimeOfDay { .. } => {
                path.seeded.choose(point)
            }
        }
    }
}

impl Choices for Asked {
    fn for_send(&mut self, _: usize, _: &NetNs) -> Box<dyn Choice> {
        Box::new(Asked(Rc::clone(&self.0)))
    }

    fn for_reply(&mut self, _: usize, _: &NetNs) -> Option<Box<dyn Choice>> {
        Some(Box::new(Asked(Rc::clone(&self.0))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every way that answers to questions of so many answers each can go.
    fn ways(asks: &dyn Fn(&mut Path)) -> Vec<Vec<u32>> {
        let (mut all, mut script) = (Vec::new(), Vec::new());
        loop {
            let mut path = Path::new(script, 0);
            asks(&mut path);
            all.push(path.answered.iter().map(|(answer, _)| *answer).collect());
            match path.next() {
                Some(next) => script = next,
                None => return all,
            }
        }
    }

    #[test]
    fn every_answer_is_given_once() {
        let all = ways(&|path| {
            // What is asked depends on what was answered.
            if path.answer(2) == 0 {
                path.answer(3);
            }
        });
        assert_eq!(all, [vec![0, 0], vec![0, 1], vec![0, 2], vec![1]]);
        assert_eq!(ways(&|_| {}), [[0u32; 0]]);
    }

    #[test]
    fn probabilities_are_those_of_the_answers() {
        let asked = |script| {
            let path = Rc::new(RefCell::new(Path::new(script, 0)));
            let mut asked = Asked(Rc::clone(&path));
            let rule = pktwalk_linux::ids::RuleId(0);
            let hook = pktwalk_linux::hook::Hook::Forward;
            let quarter = ChoicePoint::Statistic { rule, hook, threshold: WHOLE / 4 };
            let answers = [
                asked.choose(quarter),
                asked.choose(ChoicePoint::Statistic { rule, hook, threshold: WHOLE }),
            ];
            let probability = path.borrow().probability;
            (answers, probability)
        };
        assert_eq!(asked(vec![]), ([1, 1], 0.25));
        assert_eq!(asked(vec![1]), ([0, 1], 0.75));
    }
}
