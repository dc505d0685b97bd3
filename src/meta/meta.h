/* meta/meta.h - what the cluster is: the door.
 *
 *   image    one immutable version of everything that the metadata log says, cheap to share
 *   delta    a record of the log -> the next version; a version -> the records of a snapshot
 *   feature  metadata.version and its friends: levels, and what they allow
 *   config   every configuration key once: type, default, range; and what a value comes from
 *
 * Pure: no I/O, no clock; memory from the pool or arena that is handed in.
 */
#pragma once
#include "meta/config.h"
#include "meta/config_change.h"
#include "meta/delta.h"
#include "meta/feature.h"
#include "meta/image.h"
