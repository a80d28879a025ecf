//! Who is asked what, and what they must get.
//!
//! A script runs in the namespace with the machine at 10.0.2.15, and `right` looks at all that it
//! printed. `$SLUICE_CAPTURE` is a file of malformed frames, `$SLUICE_PATTERN` one of 8 MiB whose
//! byte `i` is `i % 251`, and `$SLUICE_DRAIN` waits until what a flood left in the queues of the
//! host, before the machine, has gone through.

/// A client.
#[derive(Clone, Copy, Debug)]
pub struct Client {
    /// The program.
    pub name: &'static str,
    /// The package that has it.
    pub package: &'static str,
    /// What it does, in words.
    pub did: &'static str,
    /// The same as a script.
    pub script: &'static str,
    /// What the line of its output holds that the table shows.
    pub shown: &'static str,
    /// Whether what it printed is right.
    pub right: fn(&str) -> bool,
}

/// Everybody.
pub const CLIENTS: &[Client] = &[
    Client {
        name: "ping",
        package: "iputils-ping",
        did: "flood of 3,000 echo requests",
        script: "ping -f -c 3000 10.0.2.15",
        shown: "packets transmitted",
        right: |text| text.contains("3000 received, 0% packet loss"),
    },
    Client {
        name: "fping",
        package: "fping",
        did: "500 requests of 1,000 bytes, 1 ms apart",
        script: "fping -q -c 500 -p 1 -t 2000 -b 1000 10.0.2.15",
        shown: "xmt/rcv",
        right: |text| text.contains("500/500/0%"),
    },
    Client {
        name: "dig",
        package: "bind9-dnsutils",
        did: "addresses with EDNS and a cookie",
        script: "dig @10.0.2.15 WwW.sluice.test A",
        shown: "flags:",
        right: |text| {
            let both = ["IN\tA\t10.0.2.15", "IN\tA\t10.0.2.16", "NOERROR", "WwW.sluice.test."];
            both.iter().all(|wanted| text.contains(wanted)) && text.contains("flags: qr aa rd;")
        },
    },
    Client {
        name: "dig",
        package: "bind9-dnsutils",
        did: "an alias, no EDNS",
        script: "dig +noedns @10.0.2.15 alias.sluice.test AAAA",
        shown: "AAAA\tfec0::15",
        right: |text| text.contains("CNAME\twww.sluice.test.") && text.contains("fec0::15"),
    },
    Client {
        name: "dig",
        package: "bind9-dnsutils",
        did: "a name that is not there, a type that is not, a big answer cut and whole",
        script: "dig @10.0.2.15 nobody.sluice.test A; dig @10.0.2.15 ns.sluice.test AAAA; \
                 dig +ignore +noedns @10.0.2.15 big.sluice.test TXT; \
                 dig +bufsize=1232 @10.0.2.15 big.sluice.test TXT",
        shown: "NXDOMAIN",
        right: |text| {
            let soa = text.matches("hostmaster.sluice.test.").count() == 2;
            let codes = text.matches("status: NOERROR").count() == 3;
            soa && codes
                && text.contains("NXDOMAIN")
                && text.contains(" tc ")
                && text.contains("4: a text")
        },
    },
    Client {
        name: "dig",
        package: "bind9-dnsutils",
        did: "another's zone, another class, a later EDNS",
        script: "dig @10.0.2.15 example.com A; dig @10.0.2.15 version.bind TXT CH; \
                 dig +edns=1 +noednsneg @10.0.2.15 www.sluice.test A",
        shown: "REFUSED",
        right: |text| text.matches("REFUSED").count() == 2 && text.contains("BADVERS"),
    },
    Client {
        name: "kdig",
        package: "knot-dnsutils",
        did: "IPv6 addresses, DNSSEC wanted",
        script: "kdig +dnssec @10.0.2.15 www.sluice.test AAAA",
        shown: "AAAA\tfec0::15",
        right: |text| text.contains("fec0::15") && text.contains("do; UDP size: 1232"),
    },
    Client {
        name: "dnsperf",
        package: "dnsperf",
        did: "5 seconds at what it gives, 4 of 5 in the kernel",
        script: "printf 'www.sluice.test A\\nwww.sluice.test AAAA\\nmail.sluice.test A\\n\
                 ns.sluice.test A\\nnobody.sluice.test A\\n' > /tmp/sluice-dns.$$; \
                 dnsperf -s 10.0.2.15 -d /tmp/sluice-dns.$$ -l 5 -q 20; rm /tmp/sluice-dns.$$",
        shown: "Queries per second",
        right: |text| {
            let lost = text.lines().find(|line| line.contains("Queries lost:"));
            lost.is_some_and(|line| line.contains(" 0 (0.00%)")) && !text.contains("SERVFAIL")
        },
    },
    Client {
        name: "nc",
        package: "netcat-openbsd",
        did: "memcached: set, get, get of what is not there",
        script: "ask() { printf '\\0\\7\\0\\0\\0\\1\\0\\0'\"$1\" | nc -u -w 1 10.0.2.15 11211 | \
                 tail -c +9; }; ask 'set greeting 5 0 5\\r\\nhello\\r\\n'; \
                 ask 'get greeting\\r\\n'; ask 'get nothing\\r\\n'",
        shown: "VALUE",
        right: |text| text == "STORED\r\nVALUE greeting 5 5\r\nhello\r\nEND\r\nEND\r\n",
    },
    Client {
        name: "memcaslap",
        package: "libmemcached-tools",
        did: "memcached over UDP, 2,000 operations, one get in ten set",
        script: "memcaslap -s 10.0.2.15:11211 -U -T 1 -c 4 -x 2000 2>&1 | tr '\\t' ' '",
        shown: "cmd_get",
        right: |text| {
            let count = |name: &str| {
                let line = text.lines().find(|line| line.starts_with(name))?;
                line.split(':').nth(1)?.trim().parse::<u64>().ok()
            };
            let all = count("cmd_get").zip(count("cmd_set"));
            all.is_some_and(|(get, set)| get > 0 && set > 0)
                && count("packet_drop").unwrap_or(0) == 0
                && count("get_misses") == Some(0)
        },
    },
    Client {
        name: "ntpdig",
        package: "ntpsec-ntpdig",
        did: "the time, five times",
        script: "ntpdig -s -d 10.0.2.15 2>&1; for i in 1 2 3 4 5; do ntpdig 10.0.2.15; done",
        shown: "s10",
        right: |text| text.matches("s10").count() >= 5,
    },
    Client {
        name: "chronyd",
        package: "chrony",
        did: "the clock's offset from the machine's (-Q: looks only)",
        script: "chronyd -Q -t 20 -f /dev/null 'server 10.0.2.15 iburst maxsamples 4' \
                 'user root' 2>&1",
        shown: "System clock wrong by",
        right: |text| text.contains("System clock wrong by"),
    },
    Client {
        name: "nc",
        package: "netcat-openbsd",
        did: "echo in the kernel (port 7) and in ring 3 (port 7777)",
        script: "for port in 7 7777; do echo \"through $port\" | nc -u -w 1 10.0.2.15 $port; done",
        shown: "through",
        right: |text| text == "through 7\nthrough 7777\n",
    },
    Client {
        name: "nc",
        package: "netcat-openbsd",
        did: "TCP: gets through the guard of port 7080, three times",
        script: "for i in 1 2 3; do nc -w 8 10.0.2.15 7080 < /dev/null; done",
        shown: "you exist",
        right: |text| text == "you exist\nyou exist\nyou exist\n",
    },
    Client {
        name: "curl",
        package: "curl",
        did: "the web server's page, twice over one connection",
        script: "curl -sv --max-time 10 http://10.0.2.15/ http://10.0.2.15/ 2>&1",
        shown: "HTTP/1.1 200",
        right: |text| text.matches("HTTP/1.1 200").count() == 2,
    },
    Client {
        name: "wrk",
        package: "wrk",
        did: "8 connections for 5 seconds",
        script: "wrk -t 1 -c 8 -d 5s http://10.0.2.15/",
        shown: "Requests/sec",
        right: |text| text.contains("Requests/sec") && !text.contains("Non-2xx"),
    },
    Client {
        name: "ab",
        package: "apache2-utils",
        did: "500 requests of 100 KiB, 8 at a time, connections kept",
        script: "ab -k -n 500 -c 8 http://10.0.2.15/large.bin",
        shown: "Complete requests:",
        right: |text| {
            let line = |name: &str| text.lines().find(|line| line.starts_with(name));
            let is = |name, value: &str| line(name).is_some_and(|line| line.ends_with(value));
            is("Complete requests:", " 500") && is("Failed requests:", " 0")
        },
    },
    Client {
        name: "nc",
        package: "netcat-openbsd",
        did: "bulk: 8 MiB out of the machine, every byte compared",
        script: "printf 'S\\0\\0\\0\\0\\0\\200\\0\\0' | nc -w 20 10.0.2.15 5201 | \
                 cmp -s - $SLUICE_PATTERN && echo the same",
        shown: "the same",
        right: |text| text == "the same\n",
    },
    Client {
        name: "nc",
        package: "netcat-openbsd",
        did: "bulk: 8 MiB into the machine, which counts the right bytes",
        script: "(printf 'T\\0\\0\\0\\0\\0\\200\\0\\0'; cat $SLUICE_PATTERN) | \
                 nc -w 20 10.0.2.15 5201 | od -An -tx1",
        shown: "00 00 00 00 00 80 00 00",
        right: |text| text.trim() == "00 00 00 00 00 80 00 00",
    },
    Client {
        name: "nmap",
        package: "nmap",
        did: "SYN scan of 1,000 ports",
        script: "nmap -n -Pn -sS -T4 --max-retries 1 -p 1-1000 10.0.2.15",
        shown: "scanned ports",
        right: |text| {
            text.contains("1 host up")
                && text
                    .lines()
                    .filter(|line| line.contains("/tcp") && line.contains("open"))
                    .count()
                    == 1
                && text.lines().any(|line| line.starts_with("80/tcp") && line.contains("open"))
        },
    },
    Client {
        name: "nmap",
        package: "nmap",
        did: "UDP scan: the ports that are bound are found, no other",
        script: "nmap -n -Pn -sU -T4 --max-retries 1 -p 7,8,52-54,122-124,11210-11212 10.0.2.15",
        shown: "53/udp",
        right: |text| {
            let open = |port: u32| text.lines().any(|line| line == format!("{port}/udp    open"));
            let named = |port: u32| {
                text.lines().any(|line| {
                    line.starts_with(&format!("{port}/udp"))
                        && line.split_whitespace().nth(1) == Some("open")
                })
            };
            let closed = [8, 52, 54, 122, 124, 11_210, 11_212];
            (open(53) || named(53)) && closed.iter().all(|&port| !named(port))
        },
    },
    Client {
        name: "nmap",
        package: "nmap",
        did: "guesses what system this is (-O)",
        script: "nmap -n -Pn -O --max-os-tries 1 -p 7,53,80 10.0.2.15",
        shown: "host up",
        right: |text| text.contains("1 host up"),
    },
    Client {
        name: "hping3",
        package: "hping3",
        did: "UDP flood of the limited port for 5 seconds",
        script: "timeout -s INT 5 hping3 --flood -q --udp -p 7120 10.0.2.15 2>&1; \
                 eval \"$SLUICE_DRAIN\"; ping -c 3 10.0.2.15",
        shown: "packets transmitted",
        right: |text| text.contains("3 received, 0% packet loss"),
    },
    Client {
        name: "hping3",
        package: "hping3",
        did: "SYN flood of the guarded port from random sources for 5 seconds, then who exists",
        script: "timeout -s INT 5 hping3 --flood -q -S -p 7080 --rand-source 10.0.2.15 2>&1; \
                 eval \"$SLUICE_DRAIN\"; nc -w 8 10.0.2.15 7080 < /dev/null",
        shown: "packets transmitted",
        right: |text| text.ends_with("you exist\n"),
    },
    Client {
        name: "tcpreplay",
        package: "tcpreplay",
        did: "a capture of malformed frames, ten times at top speed, then an echo",
        script: "tcpreplay -q -t -l 10 -i sluice0 $SLUICE_CAPTURE 2>&1; \
                 eval \"$SLUICE_DRAIN\"; echo alive | nc -u -w 1 10.0.2.15 7777",
        shown: "Actual:",
        right: |text| text.ends_with("alive\n") && text.contains("Failed packets:            0"),
    },
];
