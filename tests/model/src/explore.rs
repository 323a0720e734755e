//! Goes through all states of a model: Stateright for what must never be, and a pass of its own for what must stay
//! possible, which Stateright does not ask (its `eventually` is about every path, and ours about some path).

use std::{
    collections::{HashMap, VecDeque},
    hash::{Hash, Hasher},
};

use stateright::{Checker, HasDiscoveries, Model};

use crate::alike::Alike;

/// What was looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Size {
    /// Different states.
    pub states: usize,
    /// Ways between them.
    pub moves: usize,
}

/// What is wrong.
#[derive(Clone, Debug)]
pub struct Wrong {
    /// What.
    pub what: String,
    /// The moves that led there.
    pub trace: Vec<String>,
}

/// Looks for a state that must never be, until all were seen or one is found.
///
/// # Errors
/// One was found.
pub fn never<M>(model: M) -> Result<Size, Wrong>
where
    M: Model + Send + Sync + 'static,
    M::State: Hash + Send + Sync + std::fmt::Debug + Clone + PartialEq,
    M::Action: std::fmt::Debug + Clone + PartialEq + Send + Sync,
{
    // Whatever goes wrong first is enough; by default it would look for everything that is never to happen.
    let checker = model.checker().finish_when(HasDiscoveries::Any);
    let checker = checker.threads(1).spawn_bfs().join();
    let found = checker.discoveries().into_iter().next();
    match found {
        Some((what, path)) => Err(Wrong {
            what: what.to_owned(),
            trace: path
                .into_actions()
                .iter()
                .map(|action| format!("{action:?}"))
                .collect(),
        }),
        None => Ok(Size {
            states: checker.unique_state_count(),
            moves: checker.state_count(),
        }),
    }
}

/// Looks for a state that must never be, and for one of those that `counts` from which none that is `good` can be reached.
///
/// # Errors
/// There is one.
pub fn possible<M>(
    model: &M,
    counts: impl Fn(&M::State) -> bool,
    good: impl Fn(&M::State) -> bool,
) -> Result<Size, Wrong>
where
    M: Alike,
    M::State: Clone,
    M::Action: std::fmt::Debug + Clone,
{
    let mut seen = Seen::default();
    let mut ahead = VecDeque::new();
    for state in model.init_states() {
        if let Some(at) = seen.add(model.print(&state), None) {
            ahead.push_back((at, state));
        }
    }
    let (mut goods, mut counted) = (Vec::new(), Vec::new());
    let mut actions = Vec::new();
    let always = model.properties();
    while let Some((at, state)) = ahead.pop_front() {
        if let Some(broken) = always
            .iter()
            .find(|property| !(property.condition)(model, &state))
        {
            return Err(Wrong {
                what: format!("not so: {}", broken.name),
                trace: trace(model, &seen.path(at)),
            });
        }
        if good(&state) {
            goods.push(at);
        } else if counts(&state) {
            counted.push(at);
        }
        model.actions(&state, &mut actions);
        for action in actions.drain(..) {
            let Some(next) = model.next_state(&state, action) else {
                continue;
            };
            let known = seen.places.len();
            let to = seen.place(model.print(&next), at);
            seen.ways.push((to, at));
            if to as usize == known {
                ahead.push_back((to, next));
            }
        }
    }
    let reaching = seen.reaching(goods);
    match counted.iter().find(|at| !reaching[**at as usize]) {
        Some(stuck) => Err(Wrong {
            what: "nothing can go on from here".to_owned(),
            trace: trace(model, &seen.path(*stuck)),
        }),
        None => Ok(Size {
            states: seen.places.len(),
            moves: seen.ways.len(),
        }),
    }
}

/// A state as a number; the same in every run.
pub(crate) fn fingerprint<S: Hash>(state: &S) -> u64 {
    let mut print = Print(0);
    state.hash(&mut print);
    print.finish()
}

/// The smallest number of those that `each` has for an exchange of instances.
pub(crate) fn smallest<E>(of: &[E], each: impl Fn(usize, &E, &mut Print)) -> u64 {
    let prints = of.iter().enumerate().map(|(place, exchange)| {
        let mut print = Print::default();
        each(place, exchange, &mut print);
        print.finish()
    });
    prints.min().unwrap_or_default()
}

/// Folds what it is given by multiplying to twice the length: states differ in few bits, and most of the time goes here.
#[derive(Default)]
pub(crate) struct Print(u64);

impl Print {
    fn fold(&mut self, word: u64) {
        // An odd number without a pattern: the fractional digits of the golden ratio.
        let mixed = (u128::from(self.0 ^ word) + 1) * 0x9E37_79B9_7F4A_7C15;
        let (high, low) = ((mixed >> 64) as u64, mixed as u64);
        self.0 = (high ^ low).rotate_left(23);
    }
}

impl Hasher for Print {
    fn finish(&self) -> u64 {
        let mut last = Self(self.0);
        last.fold(0x5851_F42D_4C95_7F2D);
        last.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.fold(u64::from_le_bytes(word));
        }
    }

    fn write_u64(&mut self, word: u64) {
        self.fold(word);
    }

    fn write_usize(&mut self, word: usize) {
        self.fold(word as u64);
    }

    fn write_u32(&mut self, word: u32) {
        self.fold(u64::from(word));
    }
}

/// States by fingerprint, in the order in which they were found.
#[derive(Default)]
struct Seen {
    places: HashMap<u64, u32>,
    /// By place: fingerprint, and from where it was found first.
    from: Vec<(u64, Option<u32>)>,
    /// To and from.
    ways: Vec<(u32, u32)>,
}

impl Seen {
    fn add(&mut self, print: u64, from: Option<u32>) -> Option<u32> {
        let known = self.places.len();
        let place = u32::try_from(known).unwrap_or(u32::MAX);
        let place = *self.places.entry(print).or_insert(place);
        if place as usize == known {
            self.from.push((print, from));
            return Some(place);
        }
        None
    }

    fn place(&mut self, print: u64, from: u32) -> u32 {
        match self.add(print, Some(from)) {
            Some(place) => place,
            None => self.places[&print],
        }
    }

    /// Whether some of `goods` can be reached, by place.
    fn reaching(&self, goods: Vec<u32>) -> Vec<bool> {
        // Ways by where they lead to, one after another.
        let count = self.places.len();
        let mut begins = vec![0_usize; count + 1];
        for (to, _) in &self.ways {
            begins[*to as usize + 1] += 1;
        }
        for at in 0..count {
            begins[at + 1] += begins[at];
        }
        let mut next = begins.clone();
        let mut sources = vec![0_u32; self.ways.len()];
        for (to, from) in &self.ways {
            sources[next[*to as usize]] = *from;
            next[*to as usize] += 1;
        }
        let mut reaching = vec![false; count];
        let mut ahead = goods;
        for at in &ahead {
            reaching[*at as usize] = true;
        }
        while let Some(at) = ahead.pop() {
            for from in &sources[begins[at as usize]..begins[at as usize + 1]] {
                if !reaching[*from as usize] {
                    reaching[*from as usize] = true;
                    ahead.push(*from);
                }
            }
        }
        reaching
    }

    /// Fingerprints from a first state to this one.
    fn path(&self, to: u32) -> Vec<u64> {
        let mut path = Vec::new();
        let mut at = Some(to);
        while let Some(place) = at {
            let (print, from) = self.from[place as usize];
            path.push(print);
            at = from;
        }
        path.reverse();
        path
    }
}

/// The moves along a path of fingerprints.
fn trace<M>(model: &M, path: &[u64]) -> Vec<String>
where
    M: Alike,
    M::State: Clone,
    M::Action: std::fmt::Debug + Clone,
{
    let mut trace = Vec::new();
    let at = |state: &M::State, print: u64| model.print(state) == print;
    let first = path.first().copied().unwrap_or_default();
    let Some(mut state) = model
        .init_states()
        .into_iter()
        .find(|state| at(state, first))
    else {
        return trace;
    };
    for print in path.iter().skip(1) {
        let mut actions = Vec::new();
        model.actions(&state, &mut actions);
        let step = actions.into_iter().find_map(|action| {
            let next = model.next_state(&state, action.clone())?;
            at(&next, *print).then_some((action, next))
        });
        let Some((action, next)) = step else {
            break;
        };
        trace.push(format!("{action:?}"));
        state = next;
    }
    trace
}
