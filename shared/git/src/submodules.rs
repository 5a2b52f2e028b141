//! The submodules that a `.gitmodules` file describes.

use gix::bstr::{BStr, BString, ByteSlice};
use gix::submodule::config::Update;

use crate::clone_url::{CloneUrl, Location};

/// The maximum size of a `.gitmodules` file.
pub(crate) const MAX_BYTES: u64 = 1024 * 1024;

/// A `.gitmodules` file.
pub(crate) struct Modules(gix::submodule::File);

/// A submodule as `.gitmodules` describes it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Submodule {
    pub(crate) name: BString,
    pub(crate) url: String,
    /// Whether it says `update = none`, so git leaves its folder empty.
    pub(crate) is_left_out: bool,
}

impl Modules {
    /// Returns `None` if git could not read the file either.
    pub(crate) fn parse(content: &[u8]) -> Option<Self> {
        gix::submodule::File::from_bytes(content, None, &gix::config::File::default()).ok().map(Self)
    }

    /// Returns the submodule at a path of the tree, or `None` if the file has none there. Fails with a sentence about what is
    /// wrong with it.
    pub(crate) fn at(&self, path: &BStr) -> Result<Option<Submodule>, String> {
        let Some(name) = self.0.name_by_path(path) else { return Ok(None) };
        if gix::validate::submodule::name(name).is_err() || name.find_byteset(b"\n\r\0").is_some() {
            return Err("its name in .gitmodules is not valid".to_owned());
        }
        let update = self.0.update(name).map_err(|_| "its update in .gitmodules is not valid".to_owned())?;
        let url = self.0.config().string_by("submodule", Some(name), "url").unwrap_or_default();
        let url = url.to_str().ok().filter(|url| !url.is_empty());
        let url = url.ok_or("it has no URL in .gitmodules")?.to_owned();
        Ok(Some(Submodule { name: name.to_owned(), url, is_left_out: update == Some(Update::None) }))
    }
}

/// Resolves a submodule's URL as git does, and checks it like a repository's. Fails with a sentence that ends "its URL …".
///
/// A URL for SSH on the repository's own host is read over the repository's protocol, since nothing here has an SSH key.
pub(crate) fn resolve(parent: &CloneUrl, url: &str) -> Result<CloneUrl, String> {
    let resolved = match is_relative(url) {
        true => relative_to(&parent.to_string(), url).ok_or_else(|| format!("its URL {url} leads out of {parent}"))?,
        false => match parent.location() {
            Location::Http(uri) => over_http(uri, url).unwrap_or_else(|| url.to_owned()),
            Location::Path(_) => url.to_owned(),
        },
    };
    let parsed = CloneUrl::parse(&resolved, parent.hosts()).map_err(|invalid| format!("its URL {invalid}"))?;
    match (parent.location(), parsed.location()) {
        // Else a repository of another host could read repositories on this machine.
        (Location::Http(_), Location::Path(_)) => Err("its URL must be an https:// URL of a repository".to_owned()),
        _ => Ok(parsed),
    }
}

fn is_relative(url: &str) -> bool {
    url.starts_with("./") || url.starts_with("../")
}

/// Applies `./` and `../` to a URL, as `relative_url` in git does.
fn relative_to(parent: &str, url: &str) -> Option<String> {
    let mut base = parent.strip_suffix('/').unwrap_or(parent).to_owned();
    let mut rest = url;
    loop {
        if let Some(inner) = rest.strip_prefix("../") {
            base.truncate(base.rfind('/')?);
            rest = inner;
        } else if let Some(inner) = rest.strip_prefix("./") {
            rest = inner;
        } else {
            break;
        }
    }
    let resolved = format!("{base}/{rest}");
    Some(resolved.strip_suffix('/').unwrap_or(&resolved).to_owned())
}

/// Returns the URL of a repository on the parent's host in the parent's protocol, if `url` names it for SSH or with a user.
fn over_http(parent: &http::Uri, url: &str) -> Option<String> {
    let authority = parent.authority()?;
    let (host, path) = match url.split_once("://") {
        Some(("ssh" | "git+ssh" | "https", rest)) => rest.split_once('/')?,
        Some(_) => return None,
        None => url.split_once(':')?,
    };
    let (user, host) = host.rsplit_once('@').unwrap_or(("", host));
    let is_own = if url.starts_with("https://") { host == authority.as_str() } else { host == authority.host() };
    // A password is not dropped in silence.
    let named = is_own && !user.contains(':') && !path.is_empty();
    named.then(|| format!("{}://{authority}/{}", parent.scheme_str().unwrap_or("https"), path.trim_start_matches('/')))
}

#[cfg(test)]
mod tests {
    use shared::hosts::Hosts;

    use super::*;

    #[test]
    fn urls_are_resolved_as_git_does() {
        let parent = CloneUrl::parse("https://git.example.com/acme/app.git", Hosts::PublicHttps).unwrap();
        for (url, resolved) in [
            ("../lib.git", "https://git.example.com/acme/lib.git"),
            ("../../other/lib.git/", "https://git.example.com/other/lib.git"),
            ("./lib", "https://git.example.com/acme/app.git/lib"),
            (".././lib", "https://git.example.com/acme/lib"),
            ("https://other.example.com/lib", "https://other.example.com/lib"),
            ("git@git.example.com:acme/lib.git", "https://git.example.com/acme/lib.git"),
            ("ssh://git@git.example.com/acme/lib.git", "https://git.example.com/acme/lib.git"),
            ("https://ada@git.example.com/acme/lib.git", "https://git.example.com/acme/lib.git"),
        ] {
            assert_eq!(resolve(&parent, url).map(|url| url.to_string()), Ok(resolved.to_owned()), "{url}");
        }
        for url in [
            "../../../../lib",
            "git@other.example.com:acme/lib.git",
            "ssh://git@git.example.com:2222/acme/lib.git",
            "http://git.example.com/acme/lib.git",
            "https://ada:password@git.example.com/acme/lib.git",
            "https://169.254.169.254/latest",
            "/srv/git/lib.git",
            "lib",
            "-lib",
            "ext::sh -c id",
        ] {
            assert!(resolve(&parent, url).is_err(), "{url}: {:?}", resolve(&parent, url));
        }
        let on_this_machine = CloneUrl::parse("http://localhost:1/app", Hosts::AlsoLocal).unwrap();
        assert!(resolve(&on_this_machine, "/srv/git/lib.git").is_err());
        let path = CloneUrl::parse("/srv/git/app.git", Hosts::AlsoLocal).unwrap();
        assert_eq!(resolve(&path, "../lib.git").unwrap().to_string(), "/srv/git/lib.git");
    }

    #[test]
    fn a_description_that_git_refuses_is_refused() {
        let modules = |text: &str| Modules::parse(text.as_bytes()).unwrap().at("lib".into());
        let lib = "[submodule \"lib\"]\n\tpath = lib\n";
        let found = modules(&format!("{lib}\turl = ../lib\n")).unwrap().unwrap();
        assert_eq!(found, Submodule { name: "lib".into(), url: "../lib".to_owned(), is_left_out: false });
        assert!(modules(&format!("{lib}\turl = ../lib\n\tupdate = none\n")).unwrap().unwrap().is_left_out);
        assert_eq!(modules("[submodule \"a\"]\n\tpath = a\n\turl = ../a\n"), Ok(None));
        for text in [
            lib.to_owned(),
            format!("{lib}\turl = ../lib\n\tupdate = !touch x\n"),
            "[submodule \"../x\"]\n\tpath = lib\n\turl = ../lib\n".to_owned(),
        ] {
            assert!(modules(&text).is_err(), "{text}");
        }
    }
}
