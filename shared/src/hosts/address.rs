//! Network addresses that a connection may be made to.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// IPv4 blocks without public hosts: the entries of the IANA special-purpose registry (RFC 6890) that
/// are not globally reachable, multicast and the reserved class E with broadcast, the 6to4 relay (RFC 7526),
/// and Azure's metadata address, the only metadata address of a large cloud in public space.
const NOT_PUBLIC_V4: [(Ipv4Addr, u32); 16] = [
    (Ipv4Addr::new(0, 0, 0, 0), 8),
    (Ipv4Addr::new(10, 0, 0, 0), 8),
    (Ipv4Addr::new(100, 64, 0, 0), 10),
    (Ipv4Addr::new(127, 0, 0, 0), 8),
    (Ipv4Addr::new(168, 63, 129, 16), 32),
    (Ipv4Addr::new(169, 254, 0, 0), 16),
    (Ipv4Addr::new(172, 16, 0, 0), 12),
    (Ipv4Addr::new(192, 0, 0, 0), 24),
    (Ipv4Addr::new(192, 0, 2, 0), 24),
    (Ipv4Addr::new(192, 88, 99, 0), 24),
    (Ipv4Addr::new(192, 168, 0, 0), 16),
    (Ipv4Addr::new(198, 18, 0, 0), 15),
    (Ipv4Addr::new(198, 51, 100, 0), 24),
    (Ipv4Addr::new(203, 0, 113, 0), 24),
    (Ipv4Addr::new(224, 0, 0, 0), 4),
    (Ipv4Addr::new(240, 0, 0, 0), 4),
];

/// The only IPv6 block that IANA allocates as global unicast (RFC 4291). It excludes loopback, link-local, unique
/// local, multicast, v4-mapped and NAT64 addresses.
const GLOBAL_UNICAST_V6: (Ipv6Addr, u32) = (Ipv6Addr::new(0x2000, 0, 0, 0, 0, 0, 0, 0), 3);

/// Blocks in [`GLOBAL_UNICAST_V6`] without public hosts: protocol assignments with Teredo and benchmarking
/// (RFC 2928), documentation (RFC 3849, RFC 9637), and 6to4, which wraps any IPv4 address (RFC 3056).
const NOT_PUBLIC_V6: [(Ipv6Addr, u32); 4] = [
    (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 23),
    (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0), 32),
    (Ipv6Addr::new(0x2002, 0, 0, 0, 0, 0, 0, 0), 16),
    (Ipv6Addr::new(0x3fff, 0, 0, 0, 0, 0, 0, 0), 20),
];

/// Private IPv4 addresses of something other than a git host: loopback and link-local addresses, protocol assignments, multicast and
/// the reserved class E. Among them are the metadata services of Alibaba (in the shared address space), Azure and Oracle.
const NEVER_LISTED_V4: [(Ipv4Addr, u32); 8] = [
    (Ipv4Addr::new(0, 0, 0, 0), 8),
    (Ipv4Addr::new(100, 100, 100, 200), 32),
    (Ipv4Addr::new(127, 0, 0, 0), 8),
    (Ipv4Addr::new(168, 63, 129, 16), 32),
    (Ipv4Addr::new(169, 254, 0, 0), 16),
    (Ipv4Addr::new(192, 0, 0, 0), 24),
    (Ipv4Addr::new(224, 0, 0, 0), 4),
    (Ipv4Addr::new(240, 0, 0, 0), 4),
];

/// The unique local addresses (RFC 4193), the only IPv6 block of private hosts.
const UNIQUE_LOCAL_V6: (Ipv6Addr, u32) = (Ipv6Addr::new(0xfc00, 0, 0, 0, 0, 0, 0, 0), 7);

/// Unique local addresses of the services that AWS and Google give to each machine, metadata among them.
const NEVER_LISTED_V6: [(Ipv6Addr, u32); 2] =
    [(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0), 32), (Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0), 32)];

/// Returns whether `address` belongs to a host of the public internet. IPv6 forms that carry an IPv4 address
/// (mapped, NAT64, 6to4, Teredo) never count as public.
pub(super) fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => !NOT_PUBLIC_V4.into_iter().any(|block| within_v4(v4, block)),
        IpAddr::V6(v6) => {
            within_v6(v6, GLOBAL_UNICAST_V6) && !NOT_PUBLIC_V6.into_iter().any(|block| within_v6(v6, block))
        }
    }
}

/// Returns whether `address` may belong to a git host in a private network. IPv6 forms that carry an IPv4 address never do.
pub(super) fn may_be_listed(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => !NEVER_LISTED_V4.into_iter().any(|block| within_v4(v4, block)),
        IpAddr::V6(v6) => {
            within_v6(v6, UNIQUE_LOCAL_V6) && !NEVER_LISTED_V6.into_iter().any(|block| within_v6(v6, block))
        }
    }
}

fn within_v4(address: Ipv4Addr, (block, length): (Ipv4Addr, u32)) -> bool {
    (address.to_bits() ^ block.to_bits()) >> (32 - length) == 0
}

fn within_v6(address: Ipv6Addr, (block, length): (Ipv6Addr, u32)) -> bool {
    (address.to_bits() ^ block.to_bits()) >> (128 - length) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_both_ends_of_every_special_block_and_no_neighbour() {
        for (first, last, neighbours) in [
            ("0.0.0.0", "0.255.255.255", &["1.0.0.0"][..]),
            ("10.0.0.0", "10.255.255.255", &["9.255.255.255", "11.0.0.0"]),
            ("100.64.0.0", "100.127.255.255", &["100.63.255.255", "100.128.0.0"]),
            ("127.0.0.0", "127.255.255.255", &["126.255.255.255", "128.0.0.0"]),
            ("169.254.0.0", "169.254.255.255", &["169.253.255.255", "169.255.0.0"]),
            ("172.16.0.0", "172.31.255.255", &["172.15.255.255", "172.32.0.0"]),
            ("192.0.0.0", "192.0.0.255", &["191.255.255.255", "192.0.1.0"]),
            ("192.0.2.0", "192.0.2.255", &["192.0.1.255", "192.0.3.0"]),
            ("192.88.99.0", "192.88.99.255", &["192.88.98.255", "192.88.100.0"]),
            ("192.168.0.0", "192.168.255.255", &["192.167.255.255", "192.169.0.0"]),
            ("198.18.0.0", "198.19.255.255", &["198.17.255.255", "198.20.0.0"]),
            ("198.51.100.0", "198.51.100.255", &["198.51.99.255", "198.51.101.0"]),
            ("203.0.113.0", "203.0.113.255", &["203.0.112.255", "203.0.114.0"]),
            ("224.0.0.0", "255.255.255.255", &["223.255.255.255"]),
            ("168.63.129.16", "168.63.129.16", &["168.63.129.15", "168.63.129.17"]),
            ("2001::", "2001:1ff:ffff::", &["2001:200::"]),
            ("2001:db8::", "2001:db8:ffff::", &["2001:db7::", "2001:db9::"]),
            ("2002::", "2002:ffff::", &["2003::"]),
            ("3fff::", "3fff:fff:ffff::", &["3ffe::", "3fff:1000::"]),
        ] {
            for address in [first, last] {
                assert!(!is_public(address.parse().unwrap()), "{address}");
            }
            for address in neighbours {
                assert!(is_public(address.parse().unwrap()), "{address}");
            }
        }
    }

    #[test]
    fn refuses_metadata_services_and_ipv4_in_ipv6() {
        for address in [
            "169.254.169.254",         // AWS, Azure, Google
            "169.254.170.2",           // Amazon ECS
            "100.100.100.200",         // Alibaba
            "192.0.0.192",             // Oracle
            "fd00:ec2::254",           // AWS
            "fd20:ce::254",            // Google
            "::",                      // unspecified
            "::1",                     // loopback
            "fe80::1",                 // link-local
            "fec0::1",                 // site-local
            "fc00::1",                 // unique local
            "ff02::1",                 // multicast
            "100::1",                  // discard
            "::ffff:10.0.0.1",         // v4-mapped
            "::ffff:8.8.8.8",          // v4-mapped, public inside
            "::10.0.0.1",              // v4-compatible
            "64:ff9b::a00:1",          // NAT64
            "64:ff9b:1::a00:1",        // local NAT64
            "2002:a00:1::",            // 6to4
            "2001:0:a00:1::f5ff:fffe", // Teredo
        ] {
            assert!(!is_public(address.parse().unwrap()), "{address}");
        }
        for address in ["140.82.121.3", "8.8.8.8", "2606:50c0:8000::153", "2a04:4e42::1"] {
            assert!(is_public(address.parse().unwrap()), "{address}");
        }
    }
}
