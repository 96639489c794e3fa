-- Who holds stock, by SKU and expiry; and what is remembered until when.
-- Lists for ZADD as they are made, and how long they are (`#` searches for the end).
local open_add, ended_add = {}, {}
local open_add_n, ended_add_n = 0, 0
local open_removed = {}    -- member of `open` -> true
local ended_removed = {}   -- member of `ended` -> true
local due_earlier = {}     -- sku -> the soonest expiry that this call adds
local due_exact = {}       -- sku -> true: read its soonest expiry anew after the writes
local soonest_known = {}   -- sku -> expiry of the soonest open reservation or false; dropped when that may change
local settled = {}         -- sku -> true: nothing overdue is left
local expired_count = 0

-- `open` sorts by bytes: a SKU's members stand together (its length in front, so that no SKU is another's beginning), the
-- soonest expiry first: <length>:<sku>:<expires, 6 bytes><h or l><id>. No time begins with a byte of 255.
local prefixes, TIME_LENGTH = {}, 6 -- most of a batch share their SKU
local function open_prefix(sku)
  local prefix = prefixes[sku]
  if not prefix then
    prefix = #sku .. ':' .. sku .. ':'
    prefixes[sku] = prefix
  end
  return prefix
end

local function open_time(ms) return pack_number('>I6', ms) end

local function open_set(kind, id, sku, expires)
  local member, n, earliest = open_prefix(sku) .. open_time(expires) .. kind .. id, open_add_n, due_earlier[sku]
  open_add[n + 1] = '0'
  open_add[n + 2] = member
  open_add_n = n + 2
  -- To store nil where nothing is would make room for it.
  if open_removed[member] then open_removed[member] = nil end
  if soonest_known[sku] ~= nil then soonest_known[sku] = nil end
  if not earliest or expires < earliest then due_earlier[sku] = expires end
end

local function open_unset(kind, id, sku, expires)
  open_removed[open_prefix(sku) .. open_time(expires) .. kind .. id] = true
  if soonest_known[sku] ~= nil then soonest_known[sku] = nil end
end

local ended_touched = {}   -- member of `ended` -> true: this call adds it
local function ended_set(member, forget)
  local n = ended_add_n
  ended_add[n + 1] = format('%.0f', forget)
  ended_add[n + 2] = member
  ended_add_n = n + 2
  ended_touched[member] = true
  if ended_removed[member] then ended_removed[member] = nil end
end
