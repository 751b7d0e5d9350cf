//! cloud-init user-data in the forms that clouds take: one cloud-config, an archive of parts, and either compressed.
//!
//! Facts are from cloud-init 22.4.2 and 26.2, `user_data.py` and `handlers/cloud_config.py`: an archive is what has
//! `MIME-Version:` in its first 4096 bytes; a part's type is its content's when it says `text/plain`, a script or nothing,
//! and when it was compressed; of two cloud-configs the later one's keys take the place of the earlier one's, unless it
//! says how it is merged.

use std::io::Read as _;

use contract::schema::{self, NodeConfig, UserData};
use contract::strict::{Mistake, Place, Problem};
use flate2::read::GzDecoder;
use mail_parser::{Encoding, HeaderName, MessageParser, MessagePart, MimeHeaders as _};

/// What cloud-init takes an archive's header from.
const HEAD: usize = 4096;

/// What a compressed part may call itself (`DECOMP_TYPES`).
const COMPRESSED: [&str; 8] = [
    "application/gzip",
    "application/gzip-compressed",
    "application/gzipped",
    "application/x-compress",
    "application/x-compressed",
    "application/x-gunzip",
    "application/x-gzip",
    "application/x-gzip-compressed",
];

/// As long as a definition may be.
const LONGEST: u64 = 256 << 10;

/// Whether `bytes` are user-data in one of the forms that are not plain text with `#cloud-config` at its top.
pub(super) fn is_packed(bytes: &[u8]) -> bool {
    is_compressed(bytes) || is_multipart(bytes)
}

fn is_compressed(bytes: &[u8]) -> bool {
    bytes.starts_with(&[0x1f, 0x8b])
}

fn is_multipart(bytes: &[u8]) -> bool {
    let starts = |word: &str| bytes.get(..word.len()).is_some_and(|start| start.eq_ignore_ascii_case(word.as_bytes()));
    starts("content-type: multipart/") || starts("mime-version:")
}

/// The node config that user-data delivers, if it does, and doubts about it; or what is wrong with it.
pub(super) fn check(bytes: &[u8]) -> Result<(Option<NodeConfig>, Vec<Problem>), Vec<Problem>> {
    let text = if is_compressed(bytes) { inflated(bytes)? } else { bytes.to_vec() };
    let (config, mut doubts) = if is_multipart(&text) { parts(&text)? } else { whole(&text)? };
    // Clouds count what they are given.
    doubts.extend(schema::too_long(bytes.len()).map(|doubt| Problem::new(START, "", doubt)));
    doubts.sort();
    Ok((config, doubts))
}

const CONFIG: &[u8] = b"#cloud-config";

const START: Place = Place { line: 1, column: 1 };

fn refused(mistake: Mistake) -> Vec<Problem> {
    vec![Problem::new(Place::default(), "", mistake)]
}

fn inflated(bytes: &[u8]) -> Result<Vec<u8>, Vec<Problem>> {
    let mut text = Vec::new();
    let read = GzDecoder::new(bytes).take(LONGEST + 1).read_to_end(&mut text);
    read.map_err(|error| refused(Mistake::new(format!("is compressed, and damaged ({error})"))))?;
    if text.len() as u64 > LONGEST {
        return Err(refused(Mistake::new(format!("is longer than {} KiB once it is decompressed", LONGEST >> 10))));
    }
    Ok(text)
}

fn whole(text: &[u8]) -> Result<(Option<NodeConfig>, Vec<Problem>), Vec<Problem>> {
    let text = std::str::from_utf8(text).map_err(|_| refused(Mistake::new("is not UTF-8 text")))?;
    let found = schema::check_cloud_config(text)?;
    let missing = found.config.is_none().then(schema::no_node_config);
    let doubts = found.warnings.into_iter().chain(missing.map(|doubt| Problem::new(START, "", doubt))).collect();
    Ok((found.config, doubts))
}

/// What the parts before this one have said.
#[derive(Debug, Default)]
struct Parts {
    /// The number of the part that delivers the node config, and that.
    delivers: Option<(usize, NodeConfig)>,
    doubts: Vec<Problem>,
    problems: Vec<Problem>,
}

fn parts(text: &[u8]) -> Result<(Option<NodeConfig>, Vec<Problem>), Vec<Problem>> {
    let message = MessageParser::default().parse(text);
    let parts: Vec<&MessagePart<'_>> =
        message.iter().flat_map(|message| &message.parts).filter(|part| !part.is_multipart()).collect();
    let head = text.get(..text.len().min(HEAD)).unwrap_or_default().to_ascii_lowercase();
    if !head.windows(13).any(|word| word == b"mime-version:") {
        let mistake = Mistake::new("is a multi-part archive that cloud-init does not take for one");
        return Err(refused(mistake.hint("add the line MIME-Version: 1.0 to its header")));
    }
    let is_archive = message.as_ref().is_some_and(|message| message.parts.iter().any(MessagePart::is_multipart));
    if !is_archive || parts.is_empty() {
        let mistake = Mistake::new("is a multi-part archive in which no part can be found");
        return Err(refused(mistake.hint("each part begins with -- and the boundary that the first header names")));
    }
    let mut found = Parts::default();
    for (i, part) in parts.into_iter().enumerate() {
        found.take(i + 1, part, text);
    }
    let Parts { delivers, mut doubts, mut problems } = found;
    if !problems.is_empty() {
        problems.sort();
        return Err(problems);
    }
    if delivers.is_none() {
        doubts.push(Problem::new(START, "", schema::no_node_config()));
    }
    Ok((delivers.map(|(_, config)| config), doubts))
}

impl Parts {
    fn take(&mut self, number: usize, part: &MessagePart<'_>, text: &[u8]) {
        let lines_before = lines(text, part.raw_body_offset());
        let header = Place { line: lines(text, part.raw_header_offset()) + 1, column: 1 };
        let kind = part.content_type().map_or_else(String::new, |kind| {
            format!("{}/{}", kind.ctype(), kind.subtype().unwrap_or_default()).to_lowercase()
        });
        let unpacked = COMPRESSED.contains(&kind.as_str()).then(|| inflated(part.contents())).transpose();
        let Ok(unpacked) = unpacked else {
            self.problems.push(Problem::new(header, "", format!("part {number} is {kind}, and damaged or too long")));
            return;
        };
        let content = unpacked.as_deref().unwrap_or_else(|| part.contents());
        let is_config = match kind.as_str() {
            "text/cloud-config" => true,
            "" | "text/plain" | "text/x-not-multipart" | "text/x-shellscript" => content.starts_with(CONFIG),
            _ => unpacked.is_some() && content.starts_with(CONFIG),
        };
        if !is_config {
            if ["text/jinja2", "text/cloud-config-archive", "text/x-include-url"].contains(&kind.as_str()) {
                let doubt = Mistake::new(format!("part {number} is {kind}, which is not looked into here"));
                self.doubts.push(Problem::new(header, "", doubt));
            }
            return;
        }
        let Ok(content) = std::str::from_utf8(content) else {
            self.problems.push(Problem::new(header, "", format!("part {number} is not UTF-8 text")));
            return;
        };
        // A part of that type needs no first line that says so.
        let bare = !content.starts_with("#cloud-config");
        let readable = if bare { format!("#cloud-config\n{content}") } else { content.to_owned() };
        let place = |problem: Problem| {
            let line = problem.line.saturating_sub(usize::from(bare)).max(1);
            if part.encoding == Encoding::None && unpacked.is_none() {
                return Problem { line: lines_before + line, ..problem };
            }
            let message = format!("{} (line {line} of part {number})", problem.message);
            Problem { line: header.line, column: header.column, message, ..problem }
        };
        match schema::check_cloud_config(&readable) {
            Err(problems) => self.problems.extend(problems.into_iter().map(place)),
            Ok(UserData { config, writes_files, merges, warnings }) => {
                self.doubts.extend(warnings.into_iter().map(place));
                let merges = merges || merge_header(part);
                match &self.delivers {
                    Some((first, _)) if writes_files && !merges => {
                        let mistake = Mistake::new(format!(
                            "part {number} has write_files too, which takes the place of that in part {first}"
                        ));
                        let hint = "write all files in one part, or add merge_how: 'dict(recurse_array)+list(append)'";
                        self.problems.push(Problem::new(header, "", mistake.hint(hint)));
                    }
                    Some((first, _)) if config.is_some() => {
                        let message =
                            format!("part {number} writes {} a second time, after part {first}", schema::NODE_CONFIG);
                        self.problems.push(Problem::new(header, "", message));
                    }
                    _ => {}
                }
                self.delivers = self.delivers.take().or(config.map(|config| (number, config.moved(place))));
            }
        }
    }
}

/// Whether a part's headers say how it is merged.
fn merge_header(part: &MessagePart<'_>) -> bool {
    let says = |name: &HeaderName<'_>| ["merge-type", "x-merge-type"].contains(&name.as_str().to_lowercase().as_str());
    part.headers().iter().any(|header| says(&header.name))
}

/// How many lines end before `offset`.
fn lines(text: &[u8], offset: u32) -> usize {
    let offset = usize::try_from(offset).unwrap_or(usize::MAX);
    text.iter().take(offset).filter(|byte| **byte == b'\n').count()
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    const NODE: &str = "version: 1\ncluster: hub\nharbor: {external_url: http://h.example.com, admin_password: x1}\n\
                        storage: {local: {path: /srv/share}}\nredis: {host: redis}\n\
                        database: {kind: mysql, host: db, user: harbor, password: x2}\n";

    fn config() -> String {
        schema::user_data(NODE).unwrap()
    }

    fn archive(parts: &[(&str, &str)]) -> String {
        let mut text = "Content-Type: multipart/mixed; boundary=\"==B==\"\nMIME-Version: 1.0\n\n".to_owned();
        for (headers, content) in parts {
            text.push_str(&format!("--==B==\n{headers}\n\n{content}\n"));
        }
        text + "--==B==--\n"
    }

    fn gzip(text: &str) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(text.as_bytes()).unwrap();
        encoder.finish().unwrap()
    }

    fn said(bytes: &[u8]) -> String {
        assert!(is_packed(bytes));
        let list = |problems: Vec<Problem>| problems.iter().map(|problem| format!("{problem}\n")).collect::<String>();
        match check(bytes) {
            Ok((_, doubts)) => format!("fine\n{}", list(doubts)),
            Err(problems) => list(problems),
        }
    }

    const HEADERS: &str = "Content-Type: text/cloud-config; charset=\"us-ascii\"\nMIME-Version: 1.0";
    const SCRIPT: (&str, &str) = ("Content-Type: text/x-shellscript", "#!/bin/sh\necho hello");

    #[test]
    fn a_node_config_is_found_in_every_form() {
        let base64 = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, config());
        let compressed = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, gzip(&config()));
        let encoded = format!("{HEADERS}\nContent-Transfer-Encoding: base64");
        for text in [
            archive(&[SCRIPT, (HEADERS, &config())]),
            archive(&[("Content-Type: text/plain", &config()), SCRIPT]),
            archive(&[(encoded.as_str(), &base64)]),
            archive(&[("Content-Type: text/x-shellscript", &config())]),
            archive(&[("Content-Type: application/gzip\nContent-Transfer-Encoding: base64", &compressed)]),
            archive(&[(HEADERS, "#cloud-config\nlocale: C\nwrite_files: []\n"), (HEADERS, &config())]),
        ] {
            for bytes in [text.clone().into_bytes(), gzip(&text)] {
                let said = said(&bytes);
                assert!(said.starts_with("fine\n") && !said.contains("delivers no node config"), "{said}\n{text}");
            }
        }
        assert!(said(&gzip(&config())).starts_with("fine\n"));
        assert!(said(archive(&[SCRIPT]).as_bytes()).contains("delivers no node config"));
    }

    #[test]
    fn problems_in_a_part_have_their_lines_in_the_archive() {
        let text = archive(&[SCRIPT, (HEADERS, &config().replace("cluster: hub", "clustre: hub"))]);
        let line = text.lines().position(|line| line.contains("clustre")).unwrap() + 1;
        assert!(
            said(text.as_bytes()).starts_with(&format!("{line}:7: clustre: unknown key")),
            "{}",
            said(text.as_bytes())
        );
        let bare = config().replace("#cloud-config\n", "").replace("cluster: hub", "clustre: hub");
        let text = archive(&[(HEADERS, &bare)]);
        let line = text.lines().position(|line| line.contains("clustre")).unwrap() + 1;
        assert!(said(text.as_bytes()).starts_with(&format!("{line}:7: clustre")), "{}", said(text.as_bytes()));
    }

    #[test]
    fn what_cloud_init_would_make_of_it_is_told() {
        let other = "#cloud-config\nwrite_files:\n- {path: /etc/motd, content: hi}\n";
        let merging = format!("{other}merge_how: 'dict(recurse_array)+list(append)'\n");
        let replaced = "part 2 has write_files too, which takes the place of that in part 1";
        assert!(said(archive(&[(HEADERS, &config()), (HEADERS, other)]).as_bytes()).contains(replaced));
        assert!(said(archive(&[(HEADERS, &config()), (HEADERS, &merging)]).as_bytes()).starts_with("fine"));
        let header = format!("{HEADERS}\nX-Merge-Type: list(append)");
        assert!(said(archive(&[(HEADERS, &config()), (&header, other)]).as_bytes()).starts_with("fine"));
        assert!(said(archive(&[(HEADERS, &config()), (&header, &config())]).as_bytes()).contains("a second time"));
        let jinja = ("Content-Type: text/jinja2", "## template: jinja\n#cloud-config\n");
        assert!(said(archive(&[(HEADERS, &config()), jinja]).as_bytes()).contains("part 2 is text/jinja2"));
    }

    #[test]
    fn what_is_no_archive_or_too_long_is_refused() {
        let empty = b"Content-Type: multipart/mixed; boundary=x\nMIME-Version: 1.0\n\nnothing";
        assert!(said(empty).contains("no part can be found"));
        let unversioned = archive(&[SCRIPT]).replace("MIME-Version: 1.0\n", "");
        assert!(said(unversioned.as_bytes()).contains("add the line MIME-Version: 1.0"));
        let damaged = archive(&[("Content-Type: application/gzip", "no gzip")]);
        assert!(said(damaged.as_bytes()).contains("part 1 is application/gzip, and damaged"));
        let whole = gzip(&config());
        assert!(said(&whole[..whole.len() - 9]).contains("is compressed, and damaged"));
        assert!(said(&gzip(&"#".repeat(1 << 20))).contains("is longer than 256 KiB"));
        for end in 0..whole.len() {
            let _ = check(&whole[..end]);
        }
        let text = archive(&[SCRIPT, (HEADERS, &config())]);
        for end in 0..text.len() {
            let _ = check(&text.as_bytes()[..end]);
        }
        for opener in ["Content-Type: multipart/mixed; boundary=", "MIME-Version: 1.0\n", "Content-Type: multipart/x;"]
        {
            let _ = check((opener.to_owned() + &"--a\n".repeat(20_000)).as_bytes());
        }
    }
}
