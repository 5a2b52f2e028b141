//! The hosts of git servers, as connections name them.

use url::Url;

use crate::hosts::{Hosts, secure};

name! {
    /// The host of a git server, in lower case: a name or an address, with `:` and a port unless the server has the port of its
    /// protocol.
    GitHost: 1 to 255 characters,
    pattern "^[a-z0-9.:\\[\\]-]+$",
    example "git.example.com",
    else InvalidGitHost
        "must be the name of a host in lower case, such as git.example.com or git.example.com:8443, without a protocol, the \
         port 443 and a path",
    |text| parsed(text).is_some_and(|url| {
        let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
        url.port() != Some(0) && url.host_str().is_some_and(|host| format!("{host}{port}") == text)
    })
}

impl GitHost {
    /// Returns the host with its port, if it has one.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns whether a URL with this host and port leads to the host. `default` is the port of the URL's protocol.
    pub fn is_at(&self, host: &str, port: Option<u16>, default: u16) -> bool {
        let url = self.url();
        let is_it = url.host_str().is_some_and(|own| own.eq_ignore_ascii_case(host));
        is_it && url.port().unwrap_or(default) == port.unwrap_or(default)
    }

    /// Returns whether the host may be asked, as far as its text tells. The addresses of a name are checked later, by the resolver
    /// of each connection.
    pub fn is_allowed_by(&self, hosts: Hosts) -> bool {
        hosts.may_name(&self.url())
    }

    /// Returns the URL of the host's root. It has `http` only for an address of this machine, in a stack on one machine.
    pub fn root(&self, hosts: Hosts) -> String {
        let plain = format!("http://{}", self.0);
        let is_local = hosts == Hosts::AlsoLocal && secure(&plain).is_some();
        if is_local { plain } else { format!("https://{}", self.0) }
    }

    fn url(&self) -> Url {
        parsed(&self.0).expect("the text was parsed before")
    }
}

fn parsed(text: &str) -> Option<Url> {
    Url::parse(&format!("https://{text}")).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(text: &str) -> GitHost {
        text.parse().unwrap_or_else(|_| panic!("{text}"))
    }

    #[test]
    fn a_host_is_a_name_or_an_address_with_a_port() {
        for text in
            ["github.com", "git.example.com:8443", "127.0.0.1:8080", "[::1]:8080", "localhost", "xn--bcher-kva.example"]
        {
            assert_eq!(host(text).as_str(), text);
        }
        for text in [
            "",
            "GitHub.com",
            "https://github.com",
            "github.com/",
            "github.com/acme",
            "github.com:443",
            "github.com:0",
            "github.com:65536",
            "github.com:",
            "user@github.com",
            "github.com?a",
            "github.com#a",
            "github.com\\evil.example",
            "git hub.com",
            "github.com\n",
            "bücher.example",
            "2130706433",
            "0x7f.1",
            "::1",
            &"a".repeat(256),
        ] {
            assert!(text.parse::<GitHost>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_url_leads_to_the_host_only_with_its_name_and_port() {
        let (plain, other) = (host("git.example.com"), host("git.example.com:8443"));
        assert!(plain.is_at("git.example.com", None, 443) && plain.is_at("GIT.example.com", Some(443), 443));
        assert!(other.is_at("git.example.com", Some(8443), 443));
        for (name, port) in [
            ("git.example.com", Some(8443)),
            ("git.example.com.", None),
            ("example.com", None),
            ("evil-git.example.com", None),
            ("git.example.com.evil.example", None),
        ] {
            assert!(!plain.is_at(name, port, 443), "{name} {port:?}");
        }
        assert!(!other.is_at("git.example.com", None, 443));
    }

    #[test]
    fn only_public_hosts_are_asked_and_only_this_machine_without_tls() {
        for text in ["10.0.0.1", "127.0.0.1:8080", "169.254.169.254", "[::1]"] {
            assert!(!host(text).is_allowed_by(Hosts::PublicHttps), "{text}");
        }
        assert!(host("github.com").is_allowed_by(Hosts::PublicHttps));
        assert!(
            host("127.0.0.1:8080").is_allowed_by(Hosts::AlsoLocal) && !host("10.0.0.1").is_allowed_by(Hosts::AlsoLocal)
        );
        assert_eq!(host("127.0.0.1:8080").root(Hosts::AlsoLocal), "http://127.0.0.1:8080");
        assert_eq!(host("127.0.0.1:8080").root(Hosts::PublicHttps), "https://127.0.0.1:8080");
        assert_eq!(host("git.example.com").root(Hosts::AlsoLocal), "https://git.example.com");
    }
}
