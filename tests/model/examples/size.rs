//! Size.
use std::collections::{HashMap, HashSet, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};
use pgo_ha::*;
use pgo_model_tests::clock::*;
use stateright::Model;
fn h<T: Hash>(t: &T) -> u64 { let mut s = DefaultHasher::new(); t.hash(&mut s); s.finish() }
fn main() {
    let args: Vec<u64> = std::env::args().skip(1).map(|a| a.parse().unwrap_or(0)).collect();
    let bounds = Bounds {
        terms: args[0], crashes: args[1] as u8, changes: args[2] as u8, releases: args[3] as u8,
        delays: std::env::var("DELAYS").is_ok(), voters: args[4] as usize, k: 0,
        lost: None,
    };
    let limit = args[5] as usize;
    let model = Clock::new(bounds, Rules::PROTOCOL);
    let begun = std::time::Instant::now();
    let mut seen = HashSet::new();
    let mut q = VecDeque::new();
    let mut parts: HashMap<String, HashSet<u64>> = HashMap::new();
    let mut moves = 0;
    for s in model.init_states() { seen.insert(h(&s)); q.push_back(s); }
    let mut acts = vec![];
    while let Some(s) = q.pop_front() {
        if seen.len() > limit { break; }
        model.actions(&s, &mut acts);
        for a in acts.drain(..) { if let Some(n) = model.next_state(&s, a) { moves += 1; if seen.insert(h(&n)) {
            for i in 0..3 { if let Some(a) = n.agent(i) {
                let mut add = |k: &str, v: u64| { parts.entry(format!("{i} {k}")).or_default().insert(v); };
                add("agent", h(a)); add("role", h(&a.role)); add("seen", h(&a.seen)); add("call", h(&a.call)); add("granter", h(&a.granter)); add("promise", h(&a.promise));
                add("rest", h(&(&a.server,&a.following,&a.flushed,&a.stopped,&a.owed,&a.release,&a.releasing,&a.told,&a.wanted,&a.configured,&a.configuring)));
            }}
            
            parts.entry("swaps".into()).or_default().insert(h(&n.swaps));
            parts.entry("lease".into()).or_default().insert(h(&(n.version,&n.record)));
            q.push_back(n); } } }
    }
    println!("{} states {} moves queue {} {:?}", seen.len(), moves, q.len(), begun.elapsed());
    let mut p: Vec<_> = parts.into_iter().map(|(k,v)| (k,v.len())).collect(); p.sort();
    for (k,v) in p { println!("{k} {v}"); }
    if let Some(s) = q.back() { if args[5]==1{println!("{s:#?}")}; }
}
