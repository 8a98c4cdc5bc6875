//! A template that was read can be written, and is then read as the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use muster_core::Template;

fuzz_target!(|text: &str| {
    if let Ok(template) = Template::from_toml(text) {
        let written = template.to_toml().expect("a template that was read can be written");
        assert_eq!(Template::from_toml(&written), Ok(template));
    }
});
