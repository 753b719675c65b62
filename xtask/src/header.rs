//! The C header of `firmware/capi`: made from its Rust, committed, and compared at each lint.

use crate::shell::{Problem, root};
use cbindgen::{Builder, Config, DocumentationStyle, EnumConfig, ExportConfig, FunctionConfig, Language, Layout, RenameRule};
use std::path::PathBuf;

const TYPES: [&str; 6] =
    ["SightlineQuality", "SightlineTrigger", "SightlineFormat", "SightlineSocketState", "SightlineOrder", "SightlineLogLevel"];

/// Writes it.
pub(crate) fn write() -> Result<(), Problem> {
    Ok(std::fs::write(place(), fresh()?)?)
}

/// The committed one is what its source makes.
pub(crate) fn check() -> Result<(), Problem> {
    let committed = std::fs::read_to_string(place())?;
    if committed == fresh()? {
        return Ok(());
    }
    Err(Problem("firmware/capi/include/sightline.h is not what its source makes: cargo xtask header".into()))
}

fn place() -> PathBuf {
    root().join("firmware/capi/include/sightline.h")
}

fn fresh() -> Result<String, Problem> {
    let config = Config {
        language: Language::C,
        cpp_compat: true,
        usize_is_size_t: true,
        documentation_style: DocumentationStyle::Doxy,
        include_guard: Some("SIGHTLINE_H".into()),
        header: Some(
            "/* The camera's side of Sightline, in C. Made by `cargo xtask header` from firmware/capi/src: change it there.\n *\n * \
             One pusher is for one thread at a time: a call while another is inside gives SIGHTLINE_ERROR_BUSY.\n * \
             Every handle must be null, or one that sightline_pusher_init gave and whose memory is still readable. */"
                .into(),
        ),
        no_includes: true,
        sys_includes: ["stdbool.h", "stddef.h", "stdint.h"].map(Into::into).into(),
        function: FunctionConfig { args: Layout::Vertical, ..FunctionConfig::default() },
        enumeration: EnumConfig { prefix_with_name: true, rename_variants: RenameRule::ScreamingSnakeCase, ..EnumConfig::default() },
        // Those that are passed as numbers, because C may pass any number.
        export: ExportConfig { include: TYPES.map(Into::into).into(), ..ExportConfig::default() },
        line_length: 140,
        ..Config::default()
    };
    let src = root().join("firmware/capi/src");
    let sources = ["types.rs", "platform.rs", "calls.rs", "flv.rs"].map(|name| src.join(name));
    let builder = sources.into_iter().fold(Builder::new().with_config(config), Builder::with_src);
    let bindings = builder.generate().map_err(|error| Problem(format!("cbindgen: {error}")))?;
    let mut text = Vec::new();
    bindings.write(&mut text);
    String::from_utf8(text).map_err(|_| Problem("cbindgen wrote something that is no UTF-8".into()))
}
