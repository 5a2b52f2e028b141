//! Private hosts that an operator allows.

use std::net::IpAddr;
use std::str::FromStr;

use ipnet::IpNet;
use url::Host;

use super::address::may_be_listed;

/// Host names and networks, as an operator lists them. An address that no git host has is never allowed: loopback, link-local and
/// multicast addresses, and those of the metadata services of clouds.
#[derive(Debug, PartialEq, Eq)]
pub struct ListedHosts {
    /// In lower case.
    names: Vec<String>,
    networks: Vec<IpNet>,
}

/// The error for an item of a list that is neither the name of a host nor a network.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is neither")]
pub struct InvalidItem(String);

impl ListedHosts {
    /// Returns whether a listed network has this address.
    pub(super) fn has_address(&self, address: IpAddr) -> bool {
        may_be_listed(address) && self.networks.iter().any(|network| network.contains(&address))
    }

    /// Returns whether this name of a host is listed, and may have this address.
    pub(super) fn has_name_at(&self, name: &str, address: IpAddr) -> bool {
        let name = name.strip_suffix('.').unwrap_or(name);
        may_be_listed(address) && self.names.iter().any(|listed| listed.eq_ignore_ascii_case(name))
    }
}

impl FromStr for ListedHosts {
    type Err = InvalidItem;

    fn from_str(list: &str) -> Result<Self, InvalidItem> {
        let (mut names, mut networks) = (Vec::new(), Vec::new());
        for item in list.split(',').map(str::trim) {
            if let Ok(network) = item.parse::<IpNet>() {
                networks.push(network);
            } else if let Ok(address) = item.parse::<IpAddr>() {
                networks.push(address.into());
            } else {
                names.push(host_name(item).ok_or_else(|| InvalidItem(item.to_owned()))?);
            }
        }
        Ok(Self { names, networks })
    }
}

/// Parses the name of a host. URLs allow more characters, such as the asterisk, which looks like a pattern here.
fn host_name(text: &str) -> Option<String> {
    let Ok(Host::Domain(name)) = Host::parse(text) else { return None };
    name.chars().all(|char| char.is_ascii_alphanumeric() || "-._".contains(char)).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(list: &str) -> ListedHosts {
        list.parse().unwrap()
    }

    #[test]
    fn a_network_allows_its_addresses_by_any_name() {
        let hosts = listed("10.20.0.0/16, fd12:3456::/32,192.168.7.9");
        for address in ["10.20.0.1", "10.20.255.255", "fd12:3456::1", "192.168.7.9"] {
            assert!(hosts.has_address(address.parse().unwrap()), "{address}");
        }
        for address in ["10.21.0.1", "10.0.0.1", "fd12:3457::1", "192.168.7.8", "172.16.0.1"] {
            assert!(!hosts.has_address(address.parse().unwrap()), "{address}");
        }
    }

    #[test]
    fn a_name_allows_its_own_private_addresses() {
        let hosts = listed("Git.Corp.Example,forge");
        for name in ["git.corp.example", "GIT.corp.example", "git.corp.example.", "forge"] {
            assert!(hosts.has_name_at(name, [10, 0, 0, 1].into()), "{name}");
        }
        for name in ["corp.example", "evil-git.corp.example", "git.corp.example.evil.test", "forge.test", ""] {
            assert!(!hosts.has_name_at(name, [10, 0, 0, 1].into()), "{name}");
        }
        assert!(!hosts.has_address([10, 0, 0, 1].into()));
    }

    #[test]
    fn no_list_opens_this_machine_or_a_metadata_service() {
        let hosts = listed("0.0.0.0/0,::/0,git.corp.example");
        for address in [
            "0.0.0.0",
            "127.0.0.1",
            "169.254.169.254",
            "169.254.170.2",
            "100.100.100.200",
            "168.63.129.16",
            "192.0.0.192",
            "224.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "fe80::1",
            "ff02::1",
            "fd00:ec2::254",
            "fd00:ec2::23",
            "fd20:ce::254",
            "::ffff:169.254.169.254",
            "::ffff:10.0.0.1",
            "64:ff9b::a9fe:a9fe",
            "2002:a9fe:a9fe::",
        ] {
            let address = address.parse().unwrap();
            assert!(!hosts.has_address(address), "{address}");
            assert!(!hosts.has_name_at("git.corp.example", address), "{address}");
        }
        for address in ["10.0.0.1", "172.31.255.255", "192.168.0.1", "100.64.0.1", "fd12:3456::1"] {
            assert!(hosts.has_address(address.parse().unwrap()), "{address}");
        }
    }

    #[test]
    fn an_item_is_a_name_or_a_network() {
        for item in
            ["", "?", "10.0.0.0/33", "a b", "https://git.corp.example", "git.corp.example:8443", "*.corp.example"]
        {
            let error = format!("git.corp.example,{item}").parse::<ListedHosts>().unwrap_err();
            assert_eq!(error, InvalidItem(item.to_owned()));
        }
    }
}
