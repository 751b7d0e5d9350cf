-- The part of Harbor's schema that the stand-in uses. Like Harbor's own script, it begins by dropping everything: it is for
-- whoever makes the database, and for no node.
drop database if exists registry;
create database registry charset = utf8;
use registry;

create table if not exists user (
  user_id int not null auto_increment primary key,
  username varchar(255) not null unique
);
insert ignore into user (user_id, username) values (1, 'admin');

create table if not exists project (
  project_id int not null auto_increment primary key,
  name varchar(41) not null unique,
  owner_id int not null,
  creation_time timestamp default current_timestamp
);
insert ignore into project (project_id, name, owner_id) values (1, 'library', 1);

create table if not exists repository (
  repository_id int not null auto_increment primary key,
  name varchar(255) not null unique,
  project_id int not null,
  owner_id int not null,
  pull_count int default 0 not null,
  creation_time timestamp default current_timestamp
);

create table if not exists alembic_version (
  version_num varchar(32) not null primary key
);
insert ignore into alembic_version values ('0.4.0');
