//! Try.
use pgo_ha::Rules;
use pgo_model_tests::{data::*, explore};
fn main() {
    let a: Vec<usize> = std::env::args().skip(1).map(|a| a.parse().unwrap_or(9)).collect();
    let bounds = Bounds { terms: a[0] as u64, commits: a[1] as u8, crashes: a[2] as u8, first: members(a[3], &[1, 2]),
        wanted: vec![], lost: None, timeline_of_record: true };
    let begun = std::time::Instant::now();
    let model = Data::new(bounds, Rules::PROTOCOL);
    match explore::possible(&model, |s| model.can_go_on(s), |s| model.goes_on(s)) {
        Ok(size) => println!("{size:?} {:?}", begun.elapsed()),
        Err(wrong) => { println!("{} {:?}", wrong.what, begun.elapsed()); for t in wrong.trace { println!("  {}", &t[..t.len().min(150)]); } }
    }
}
