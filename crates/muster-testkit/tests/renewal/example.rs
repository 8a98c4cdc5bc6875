//! `examples/key-based-renewal`, as it is written.

use std::path::Path;
use std::process::{Command, Stdio};

use muster_testkit::peers;

#[test]
fn example_renews_twice_without_a_password_and_stops_when_revoked() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let output = Command::new("bash")
        .arg(root.join("examples/key-based-renewal/run.sh"))
        .arg(folder.path())
        .env("MUSTER", peers::muster())
        .env("PORT", muster_testkit::ports::three().to_string())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(text.matches("└ renewed: 4d").count(), 4, "{text}");
    assert_eq!(text.matches("  valid  ").count(), 3, "{text}");
    assert!(text.contains("  used   1/1   Device"), "{text}");
    assert!(text.contains("3 certificates are revoked (keyCompromise), 0 were before"), "{text}");
    assert!(text.contains("This certificate has been revoked"), "{text}");
    assert!(text.trim_end().ends_with("refused, as it must be"), "{text}");
    assert!(!folder.path().join("password").exists());
}
