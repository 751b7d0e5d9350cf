//! Tars of every kind, read from a stream.

use super::*;

#[test]
fn every_byte_is_accounted_for_and_names_are_whole() {
    let long = "d/".repeat(150) + "name";
    let mut builder = tar::Builder::new(Vec::new());
    let mut header = Header::new_gnu();
    header.set_size(5);
    header.set_mode(0o4755);
    header.set_mtime(7);
    header.set_entry_type(EntryType::Regular);
    builder.append_pax_extensions([("SCHILY.xattr.user.a", b"1".as_slice()), ("uid", b"70000")]).unwrap();
    builder.append_data(&mut header, "short", &b"hello"[..]).unwrap();
    builder.append_data(&mut header, &long, &b"world"[..]).unwrap();
    let tar = builder.into_inner().unwrap();
    let mut stream = TarStream::new(tar.as_slice(), "it").keeping_raw();
    let mut whole = Vec::new();
    let mut names = Vec::new();
    while let Some(entry) = stream.next_entry().unwrap() {
        whole.extend(stream.take_raw());
        stream.read_to_end(&mut whole).unwrap();
        names.push((String::from_utf8(entry.name).unwrap(), entry.uid, entry.attributes.len(), entry.modified));
    }
    whole.extend(stream.take_raw());
    stream
        .finish(|rest| {
            whole.extend(rest);
            Ok(())
        })
        .unwrap();
    assert!(whole == tar);
    assert_eq!(names, [("short".into(), 70_000, 1, 7), (long, 0, 0, 7)]);
}

#[test]
fn what_is_wrong_is_said() {
    let said = |bytes: &[u8]| -> String {
        let mut stream = TarStream::new(bytes, "it");
        loop {
            match stream.next_entry() {
                Ok(Some(_)) => {}
                Ok(None) => return "good".into(),
                Err(error) => return error.to_string(),
            }
        }
    };
    let mut builder = tar::Builder::new(Vec::new());
    let mut header = Header::new_gnu();
    header.set_size(2000);
    builder.append_data(&mut header, "a", &[1; 2000][..]).unwrap();
    let tar = builder.into_inner().unwrap();
    assert_eq!(said(&tar), "good");
    assert_eq!(said(&tar[..600]), "it, in \"a\", is cut off");
    assert_eq!(said(&tar[..100]), "it is not a tar archive");
    assert_eq!(said(b""), "it is not a tar archive");
    assert_eq!(said(&[b'x'; 4096]), "it is not a tar archive");
    let mut sparse = tar.clone();
    sparse[156] = b'S';
    let sum: u32 =
        sparse[..512].iter().enumerate().map(|(i, b)| if (148..156).contains(&i) { 32 } else { u32::from(*b) }).sum();
    sparse[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    assert!(said(&sparse).contains("sparse"), "{}", said(&sparse));
}
