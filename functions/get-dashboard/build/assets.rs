//! A folder of hand-written files. Each is published below a name with its hash, and names of others in it are replaced by
//! theirs.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use crate::Result;
use crate::bundle::bundle;
use crate::site::Site;

pub(crate) struct Assets {
    /// The texts by their paths in the folder.
    texts: BTreeMap<String, String>,
    urls: BTreeMap<String, String>,
    /// The files that wait for the URL of another one.
    waiting: Vec<String>,
}

impl Assets {
    pub(crate) fn read(folder: &Path) -> Result<Self> {
        let mut texts = BTreeMap::new();
        let mut folders = vec![folder.to_owned()];
        while let Some(next) = folders.pop() {
            for entry in fs::read_dir(&next).map_err(|error| format!("{}: {error}", next.display()))? {
                let path = entry?.path();
                if path.is_dir() {
                    folders.push(path);
                    continue;
                }
                let name = path.strip_prefix(folder)?.to_str().ok_or("names are UTF-8")?.to_owned();
                texts.insert(name, fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?);
            }
        }
        Ok(Self { texts, urls: BTreeMap::new(), waiting: Vec::new() })
    }

    /// Adds all files but documents to the site.
    pub(crate) fn publish(&mut self, site: &mut Site) -> Result<()> {
        let names: Vec<_> = self.texts.keys().filter(|name| !name.ends_with(".html")).cloned().collect();
        names.iter().try_for_each(|name| self.add(name, site).map(drop))
    }

    /// Returns the URL of a published file.
    pub(crate) fn url(&self, name: &str) -> Result<String> {
        self.urls.get(name).cloned().ok_or_else(|| format!("there is no file {name}").into())
    }

    /// Replaces all modules by one, which is named like the one that imports the others.
    pub(crate) fn bundled(mut self, entry: &str) -> Result<Self> {
        let script = bundle(&self.texts, entry)?;
        self.texts.retain(|name, _| !name.ends_with(".js"));
        self.texts.insert(entry.to_owned(), script);
        for (_, text) in self.texts.iter_mut().filter(|(name, _)| name.ends_with(".css")) {
            *text = minifier::css::minify(text)?.to_string();
        }
        Ok(self)
    }

    /// Returns a document that names published files.
    pub(crate) fn document(&mut self, name: &str) -> Result<String> {
        self.rewritten(name, None)
    }

    fn add(&mut self, name: &str, site: &mut Site) -> Result<String> {
        if let Some(url) = self.urls.get(name) {
            return Ok(url.clone());
        }
        if self.waiting.iter().any(|waiting| waiting == name) {
            return Err(format!("{} import each other in a circle", self.waiting.join(", ")).into());
        }
        self.waiting.push(name.to_owned());
        let text = self.rewritten(name, Some(site))?;
        self.waiting.pop();
        let (stem, extension) = name.rsplit_once('.').ok_or_else(|| format!("{name} has no extension"))?;
        let url = site.add_asset(&stem.replace('/', "-"), extension, text);
        self.urls.insert(name.to_owned(), url.clone());
        Ok(url)
    }

    /// Returns the text of a file with the URLs of the files that its string literals name.
    fn rewritten(&mut self, name: &str, mut site: Option<&mut Site>) -> Result<String> {
        let text = self.texts.get(name).cloned().ok_or_else(|| format!("there is no file {name}"))?;
        let (mut written, mut rest) = (String::new(), text.as_str());
        while let Some(at) = rest.find(['\'', '"']) {
            let (before, quoted) = rest.split_at(at + 1);
            written += before;
            rest = quoted;
            let quote = &before[at..];
            let Some((literal, after)) = quoted.split_once(quote) else { continue };
            let is_import = before[..at].ends_with("from ") || before[..at].ends_with("import ");
            let Some(target) = self.target(name, literal) else {
                if is_import && literal.starts_with('.') {
                    return Err(format!("{name} imports {literal}, which is not there").into());
                }
                continue;
            };
            written += &match &mut site {
                Some(site) => self.add(&target, site)?,
                None => self.url(&target)?,
            };
            written += quote;
            rest = after;
        }
        Ok(written + rest)
    }

    /// Returns the file that a string literal names: `./x.js` beside the file, or `/x.css` in a document.
    fn target(&self, name: &str, literal: &str) -> Option<String> {
        let is_document = name.ends_with(".html");
        if !is_document && !literal.starts_with("./") && !literal.starts_with("../") {
            return None;
        }
        let mut folder: Vec<_> = name.split('/').collect();
        folder.pop();
        for segment in literal.trim_start_matches('/').split('/') {
            match segment {
                "." => {}
                ".." => drop(folder.pop()?),
                segment => folder.push(segment),
            }
        }
        Some(folder.join("/")).filter(|target| self.texts.contains_key(target) && !target.ends_with(".html"))
    }
}
