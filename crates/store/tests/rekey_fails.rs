//! A change of the key that fails when the database is under the new key already.
#![allow(clippy::unwrap_used, missing_docs)]

#[allow(dead_code, reason = "each file of scenarios needs a part of it")]
mod support;

use support::{new_store, passphrase};
use tertulia_store::{ErrorKind, KeySource, Setting, Store, StoreError, fail_points::REKEYED};

#[tokio::test]
async fn a_change_that_fails_after_the_database_was_encrypted_anew_leaves_a_store_that_opens() {
    for (old, new) in [(KeySource::File, passphrase("open sesame")), (KeySource::File, KeySource::File)] {
        let (directory, store) = new_store();
        let home = directory.path().join("home");
        let guard = store.lock().await.unwrap();
        store.write(&guard, |w| w.put_setting(Setting::Label, "before")).unwrap();

        fail::cfg(REKEYED, "1*return").unwrap();
        let failed = store.rekey(&guard, &new).unwrap_err();
        assert!(matches!(failed, StoreError::DiskFull), "{failed:?}");
        // The store that has done it has the old key in mind, and changes nothing with it.
        let error = store.read(|r| r.setting(Setting::Label)).unwrap_err();
        assert_eq!((error.kind(), error.code()), (ErrorKind::Misuse, "key-changed"), "{error:?}");
        drop((guard, store));

        if !matches!(new, KeySource::File) {
            Store::open(&home, &old).unwrap_err();
        }
        let store = Store::open(&home, &new).unwrap();
        assert_eq!(store.read(|r| r.setting(Setting::Label)).unwrap().as_deref(), Some("before"));
        assert!(!home.join("next-key").exists() && !home.join("next-key.json").exists(), "it is settled");
        // And the key can be changed again.
        let guard = store.lock().await.unwrap();
        store.rekey(&guard, &old).unwrap();
        drop((guard, store));
        let store = Store::open(&home, &old).unwrap();
        assert_eq!(store.read(|r| r.setting(Setting::Label)).unwrap().as_deref(), Some("before"));
    }
}
