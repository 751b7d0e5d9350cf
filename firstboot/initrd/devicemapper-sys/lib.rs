//! The kernel's device-mapper interface, as the crate `devicemapper` names it: numbers and layouts, no code.
//!
//! It stands in for the crate of the same name (`[patch]` in the workspace's Cargo.toml), which makes this file anew in
//! each build and needs libclang and libdevmapper's headers for it, and so SELinux's and udev's. The interface is the
//! kernel's promise and does not change. Sources: `linux/dm-ioctl.h` of Linux 6.1 (structures, commands, flags),
//! `libdevmapper.h` 1.02.185 (udev's flags), `linux/sem.h` (semaphores).

#![allow(non_camel_case_types, reason = "names are the kernel's, and what `devicemapper` calls them")]
#![allow(missing_docs, reason = "the kernel's header says what they mean")]

use std::ffi::{c_char, c_int, c_ushort, c_void};

pub type __u16 = u16;
pub type __u32 = u32;

/// `_IOWR`'s type.
pub const DM_IOCTL: u32 = 0xfd;
pub const DM_VERSION_MAJOR: u32 = 4;
pub const DM_VERSION_MINOR: u32 = 47;
pub const DM_VERSION_PATCHLEVEL: u32 = 0;
pub const DM_NAME_LEN: u32 = 128;
pub const DM_UUID_LEN: u32 = 129;

pub const DM_VERSION_CMD: u32 = 0;
pub const DM_REMOVE_ALL_CMD: u32 = 1;
pub const DM_LIST_DEVICES_CMD: u32 = 2;
pub const DM_DEV_CREATE_CMD: u32 = 3;
pub const DM_DEV_REMOVE_CMD: u32 = 4;
pub const DM_DEV_RENAME_CMD: u32 = 5;
pub const DM_DEV_SUSPEND_CMD: u32 = 6;
pub const DM_DEV_STATUS_CMD: u32 = 7;
pub const DM_DEV_WAIT_CMD: u32 = 8;
pub const DM_TABLE_LOAD_CMD: u32 = 9;
pub const DM_TABLE_CLEAR_CMD: u32 = 10;
pub const DM_TABLE_DEPS_CMD: u32 = 11;
pub const DM_TABLE_STATUS_CMD: u32 = 12;
pub const DM_LIST_VERSIONS_CMD: u32 = 13;
pub const DM_TARGET_MSG_CMD: u32 = 14;
pub const DM_DEV_SET_GEOMETRY_CMD: u32 = 15;
pub const DM_DEV_ARM_POLL_CMD: u32 = 16;
pub const DM_GET_TARGET_VERSION_CMD: u32 = 17;

pub const DM_READONLY_FLAG: u32 = 1 << 0;
pub const DM_SUSPEND_FLAG: u32 = 1 << 1;
pub const DM_PERSISTENT_DEV_FLAG: u32 = 1 << 3;
pub const DM_STATUS_TABLE_FLAG: u32 = 1 << 4;
pub const DM_ACTIVE_PRESENT_FLAG: u32 = 1 << 5;
pub const DM_INACTIVE_PRESENT_FLAG: u32 = 1 << 6;
pub const DM_BUFFER_FULL_FLAG: u32 = 1 << 8;
pub const DM_SKIP_BDGET_FLAG: u32 = 1 << 9;
pub const DM_SKIP_LOCKFS_FLAG: u32 = 1 << 10;
pub const DM_NOFLUSH_FLAG: u32 = 1 << 11;
pub const DM_QUERY_INACTIVE_TABLE_FLAG: u32 = 1 << 12;
pub const DM_UEVENT_GENERATED_FLAG: u32 = 1 << 13;
pub const DM_UUID_FLAG: u32 = 1 << 14;
pub const DM_SECURE_DATA_FLAG: u32 = 1 << 15;
pub const DM_DATA_OUT_FLAG: u32 = 1 << 16;
pub const DM_DEFERRED_REMOVE: u32 = 1 << 17;
pub const DM_INTERNAL_SUSPEND_FLAG: u32 = 1 << 18;

pub const DM_UDEV_FLAGS_SHIFT: u32 = 16;
pub const DM_UDEV_FLAGS_MASK: u32 = 0xffff_0000;
pub const DM_UDEV_DISABLE_DM_RULES_FLAG: u32 = 1 << 0;
pub const DM_UDEV_DISABLE_SUBSYSTEM_RULES_FLAG: u32 = 1 << 1;
pub const DM_UDEV_DISABLE_DISK_RULES_FLAG: u32 = 1 << 2;
pub const DM_UDEV_DISABLE_OTHER_RULES_FLAG: u32 = 1 << 3;
pub const DM_UDEV_LOW_PRIORITY_FLAG: u32 = 1 << 4;
pub const DM_UDEV_DISABLE_LIBRARY_FALLBACK: u32 = 1 << 5;
pub const DM_UDEV_PRIMARY_SOURCE_FLAG: u32 = 1 << 6;
pub const DM_COOKIE_MAGIC: u32 = 0x0d4d;

pub const GETVAL: i32 = 12;
pub const SETVAL: i32 = 16;
pub const SEM_INFO: i32 = 19;

#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct dm_ioctl {
    pub version: [u32; 3],
    pub data_size: u32,
    pub data_start: u32,
    pub target_count: u32,
    pub open_count: i32,
    pub flags: u32,
    pub event_nr: u32,
    pub padding: u32,
    pub dev: u64,
    pub name: [c_char; 128],
    pub uuid: [c_char; 129],
    pub data: [c_char; 7],
}

// The standard library derives it for arrays of up to 32.
impl Default for dm_ioctl {
    fn default() -> Self {
        Self {
            version: [0; 3],
            data_size: 0,
            data_start: 0,
            target_count: 0,
            open_count: 0,
            flags: 0,
            event_nr: 0,
            padding: 0,
            dev: 0,
            name: [0; 128],
            uuid: [0; 129],
            data: [0; 7],
        }
    }
}

#[repr(C)]
#[derive(Debug, Default, Clone, Copy)]
pub struct dm_target_spec {
    pub sector_start: u64,
    pub length: u64,
    pub status: i32,
    pub next: u32,
    pub target_type: [c_char; 16],
}

#[repr(C)]
#[derive(Debug, Default)]
pub struct dm_target_deps {
    pub count: u32,
    pub padding: u32,
    pub dev: [u64; 0],
}

#[repr(C)]
#[derive(Debug, Default)]
pub struct dm_name_list {
    pub dev: u64,
    pub next: u32,
    pub name: [c_char; 0],
}

#[repr(C)]
#[derive(Debug, Default)]
pub struct dm_target_versions {
    pub next: u32,
    pub version: [u32; 3],
    pub name: [c_char; 0],
}

#[repr(C)]
#[derive(Debug, Default)]
pub struct dm_target_msg {
    pub sector: u64,
    pub message: [c_char; 0],
}

/// What `semctl` takes.
#[repr(C)]
#[derive(Clone, Copy)]
pub union semun {
    pub val: c_int,
    pub buf: *mut c_void,
    pub array: *mut c_ushort,
    pub __buf: *mut seminfo,
}

impl Default for semun {
    fn default() -> Self {
        Self { buf: std::ptr::null_mut() }
    }
}

impl std::fmt::Debug for semun {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("semun")
    }
}

#[repr(C)]
#[derive(Debug, Default, Clone, Copy)]
pub struct seminfo {
    pub semmap: c_int,
    pub semmni: c_int,
    pub semmns: c_int,
    pub semmnu: c_int,
    pub semmsl: c_int,
    pub semopm: c_int,
    pub semume: c_int,
    pub semusz: c_int,
    pub semvmx: c_int,
    pub semaem: c_int,
}

// As the kernel lays them out on x86-64; another layout does not compile.
const _: () = assert!(size_of::<dm_ioctl>() == 312 && size_of::<dm_target_spec>() == 40);
const _: () = assert!(size_of::<dm_name_list>() == 16 && size_of::<dm_target_deps>() == 8);
const _: () = assert!(size_of::<dm_target_versions>() == 16 && size_of::<dm_target_msg>() == 8);
const _: () = assert!(size_of::<seminfo>() == 40 && size_of::<semun>() == 8);
