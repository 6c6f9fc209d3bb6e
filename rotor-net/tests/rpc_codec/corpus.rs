//! What the fuzzer found worth keeping is decoded again, as the fuzz target does.

use crate::rich::Rich;
use crate::{decoded, encoded};
use std::fs;
use std::path::Path;

#[test]
fn the_corpus_of_the_fuzz_target_is_harmless() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/decode");
    let mut values = 0;
    let mut errors = 0;
    for file in fs::read_dir(corpus).expect("the corpus is kept") {
        let bytes = fs::read(file.unwrap().path()).unwrap();
        match decoded::<Rich>(&bytes) {
            Ok(value) => {
                values += 1;
                // Not always the same bytes: numbers and chars may be written in more than one way.
                let again = encoded(&value).expect("what was decoded can be encoded");
                assert_eq!(
                    decoded::<Rich>(&again).map(|value| encoded(&value)),
                    Ok(Ok(again))
                );
            }
            Err(_) => errors += 1,
        }
    }
    assert!(
        values > 10 && errors > 10,
        "{values} values, {errors} errors"
    );
}
