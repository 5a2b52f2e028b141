//! The dashboard's modules as one script, so that a browser asks once. Names at the top level are unique across the modules; a
//! browser refuses the script if they are not. A name of the browser that a module declares too, such as `open`, needs
//! `window.` in the others.

use std::collections::BTreeMap;

use minifier::js::{self, Keyword, ReservedChar, Token};

use crate::Result;

/// Returns the script: each module after those that it imports, without imports, exports, comments and spaces.
pub(crate) fn bundle(modules: &BTreeMap<String, String>, entry: &str) -> Result<String> {
    let mut bundle = Bundle { modules, open: Vec::new(), done: Vec::new(), script: String::new() };
    bundle.add(entry)?;
    Ok(minified(&bundle.script))
}

/// Returns a script that does the same and takes less space once it is compressed, for which all declarations are alike. Relies
/// on the modules to have neither a loop without a body, nor a hole in an array, nor a regular expression with a slash in a class.
fn minified(script: &str) -> String {
    use ReservedChar::{CloseBracket, CloseCurlyBrace, CloseParenthese, Comma, SemiColon};

    let mut tokens = js::clean_tokens(js::simple_minify(script));
    for token in tokens.0.iter_mut().filter(|token| token.get_keyword() == Some(Keyword::Const)) {
        *token = Token::Keyword(Keyword::Let);
    }
    tokens.0.reverse();
    tokens.0.dedup_by(|before, after| match after.get_char() {
        Some(CloseCurlyBrace) => before.eq_char(Comma) || before.eq_char(SemiColon),
        Some(CloseBracket | CloseParenthese) => before.eq_char(Comma),
        _ => false,
    });
    tokens.0.reverse();
    tokens.to_string()
}

struct Bundle<'a> {
    modules: &'a BTreeMap<String, String>,
    /// The modules whose imports are being added.
    open: Vec<String>,
    done: Vec<String>,
    script: String,
}

impl Bundle<'_> {
    fn add(&mut self, name: &str) -> Result<()> {
        if self.done.iter().any(|done| done == name) {
            return Ok(());
        }
        if self.open.iter().any(|open| open == name) {
            return Err(format!("{} import each other in a circle", self.open.join(", ")).into());
        }
        let text = self.modules.get(name).ok_or_else(|| format!("there is no module {name}"))?;
        self.open.push(name.to_owned());
        let mut code = String::new();
        let mut import = String::new();
        for line in text.lines() {
            if !import.is_empty() || line.starts_with("import ") {
                import += line;
                if line.ends_with(';') {
                    self.add(imported(name, &import)?)?;
                    import.clear();
                }
                continue;
            }
            code += line.strip_prefix("export ").unwrap_or(line);
            code.push('\n');
        }
        self.script += &code;
        self.open.pop();
        self.done.push(name.to_owned());
        Ok(())
    }
}

/// Returns the module that a statement imports.
fn imported<'a>(name: &str, import: &'a str) -> Result<&'a str> {
    let module = import.split_once("from \"./").and_then(|(_, module)| module.strip_suffix("\";"));
    module.ok_or_else(|| format!("{name}: {import} is not from \"./<module>\"").into())
}
