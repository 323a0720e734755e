//! Try.
use pgo_ha::Rules;
use pgo_model_tests::{clock::*, explore};
fn main() {
    let args: Vec<u64> = std::env::args().skip(1).map(|a| a.parse().unwrap_or(0)).collect();
    let bounds = Bounds {
        terms: args[0], crashes: args[1] as u8, changes: args[2] as u8, releases: args[3] as u8,
        delays: std::env::var("DELAYS").is_ok(), voters: args[4] as usize, k: 0,
        lost: None,
    };
    let begun = std::time::Instant::now();
    let model = Clock::new(bounds, Rules::PROTOCOL);
    match explore::never(model.clone()) {
        Ok(size) => println!("{size:?} {:?}", begun.elapsed()),
        Err(wrong) => { println!("{} {:?}", wrong.what, begun.elapsed()); for t in wrong.trace { println!("  {t}"); } }
    }
}
