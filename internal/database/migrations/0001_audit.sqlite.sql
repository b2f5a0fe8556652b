CREATE TRIGGER audit_entry_no_update BEFORE UPDATE ON audit_entry
BEGIN SELECT RAISE(ABORT, 'the audit log is append-only: its entries are never changed'); END;

CREATE TRIGGER audit_entry_no_delete BEFORE DELETE ON audit_entry
BEGIN SELECT RAISE(ABORT, 'the audit log is append-only: its entries are never deleted'); END;

CREATE TRIGGER audit_entry_at_end BEFORE INSERT ON audit_entry
WHEN NOT EXISTS (SELECT 1 FROM audit_head WHERE seq + 1 = NEW.seq AND hash = NEW.previous)
BEGIN SELECT RAISE(ABORT, 'the audit log is append-only: an entry goes to its end'); END;

CREATE TRIGGER audit_head_forward BEFORE UPDATE ON audit_head
WHEN NOT (NEW.id = OLD.id AND NEW.seq = OLD.seq AND NEW.hash = OLD.hash AND NEW.key_id = OLD.key_id AND NEW.seal = OLD.seal)
  AND NOT (NEW.seq = OLD.seq + 1 AND EXISTS (SELECT 1 FROM audit_entry WHERE seq = NEW.seq AND hash = NEW.hash))
BEGIN SELECT RAISE(ABORT, 'the audit log is append-only: its head moves with its last entry'); END;

CREATE TRIGGER audit_head_no_delete BEFORE DELETE ON audit_head
BEGIN SELECT RAISE(ABORT, 'the audit log is append-only: its head is never deleted'); END;
