BEGIN TRANSACTION;
CREATE TABLE contrail_counts (
  sink text not null, stream text not null, result text not null, number integer not null,
  primary key (sink, stream, result)
) without rowid;
CREATE TABLE contrail_cursors (
  sink text not null, identity text not null, name text not null, offset integer not null, tail blob not null,
  part integer not null, sending integer not null, checksum integer not null, updated real not null,
  primary key (sink, identity)
) without rowid;
INSERT INTO "contrail_cursors" VALUES('elasticsearch','55536793a0935e3b','contrail.alert-20261127-000.journal',0,X'',0,1487,1794320230,1.79579827230332469945e+09);
CREATE TABLE contrail_facts (name text primary key, value text not null) without rowid;
INSERT INTO "contrail_facts" VALUES('began:elasticsearch','1795798272.2947083');
INSERT INTO "contrail_facts" VALUES('boot:elasticsearch','8d1a3025-7aa0-434e-8f2a-9c36ea895129');
CREATE TABLE contrail_finished (
  sink text not null, identity text not null, stamp integer not null, primary key (sink, identity)
) without rowid;
CREATE TABLE contrail_latest (
  sink text not null, identity text not null, latest integer not null, primary key (sink, identity)
) without rowid;
COMMIT;
PRAGMA user_version = 1;
