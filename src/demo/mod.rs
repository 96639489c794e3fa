//! stub
use crate::cli::DemoOptions;
/// stub
pub fn run(_options: &DemoOptions) -> Result<(), String> {
    Err("demo".to_owned())
}
