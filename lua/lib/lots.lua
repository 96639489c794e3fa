-- Reservations whose ids the sidecar minted, as one call made them together: a lot is of one SKU and one expiry, and a
-- reservation's id is its lot's and its place there. So a batch costs the upstream little more than one reservation.
--
-- A lot is made(6) expires(6) entries(2) open entries(2) length of the SKU(2) SKU entries…, numbers with their high byte first,
-- times in unix ms. An entry is state(1) quantity(4) ended(6) token of the commit(11). States: o open, c committed,
-- r rolled back, x expired, m moved (its record is in `holds`), - nothing was reserved. An entry that ended is forgotten
-- `remember` later, the lot when all its entries are.
local lots = {}            -- id -> lot, or false
local lots_made = {}       -- id -> the bytes of a lot that this call makes
local lots_changed = {}    -- id -> true
local lots_forgotten = {}  -- ids, and names of batches
local LOT_ID, ENTRY = 19, 22
local now_packed = pack_number('>I6', now)
local OPEN = byte('o')

local function lot_decode(bytes)
  if not bytes then return false end
  local made, expires, n, open, length, at = unpack_number('>I6I6I2I2I2', bytes)
  return { bytes = bytes, made = made, expires = expires, n = n, open = open, sku = sub(bytes, at, at + length - 1),
    base = at + length - ENTRY, changed = {}, places = {} }
end

local function lot_of(id)
  local lot = lots[id]
  if lot == nil then
    lot = lot_decode(call('HGET', KEY_LOTS, id))
    lots[id] = lot
  end
  return lot
end

-- The entry's bytes, or false where the lot has none of that place.
local function entry_of(lot, place)
  local changed = lot.changed[place]
  if changed then return changed end
  if place < 1 or place > lot.n then return false end
  local at = lot.base + place * ENTRY
  return sub(lot.bytes, at, at + ENTRY - 1)
end

local quantities = {}
local function entry_quantity(entry)
  local text = sub(entry, 2, 5)
  local quantity = quantities[text]
  if not quantity then
    quantity = unpack_number('>I4', text)
    quantities[text] = quantity
  end
  return quantity
end

local function entry_set(id, lot, place, entry)
  if not lot.changed[place] then lot.places[#lot.places + 1] = place end
  lot.changed[place] = entry
  lots_changed[id] = true
end

-- An open entry holds stock no more; what becomes of its stock is the caller's.
local function entry_end(id, lot, place, entry, state, token)
  entry_set(id, lot, place, state .. sub(entry, 2, 5) .. now_packed .. token)
  stock_changed[lot.sku] = true
  lot.open = lot.open - 1
  if lot.open == 0 then
    open_unset('l', id, lot.sku, lot.expires)
    ended_set('l' .. id, now + remember_ms)
  end
end

local function entry_give_back(id, lot, place, entry, state)
  local s, quantity = stock_of(lot.sku), entry_quantity(entry)
  s.available, s.reserved = s.available + quantity, s.reserved - quantity
  entry_end(id, lot, place, entry, state, NO_TOKEN)
end

local function entry_expire(id, lot, place, entry)
  entry_give_back(id, lot, place, entry, 'x')
  expired_count = expired_count + 1
end

-- Remembered long enough.
local function entry_forgotten(entry) return unpack_number('>I6', entry, 6) + remember_ms <= now end

-- The lot with its changes.
local function lot_encode(lot)
  local places, changed, bytes, base = lot.places, lot.changed, lot.bytes, lot.base
  table.sort(places)
  local parts, n, from =
    { pack_number('>I6I6I2I2I2', lot.made, lot.expires, lot.n, lot.open, #lot.sku), lot.sku }, 2, base + ENTRY
  for i = 1, #places do
    local place = places[i]
    local at = base + place * ENTRY
    if at > from then
      n = n + 1
      parts[n] = sub(bytes, from, at - 1)
    end
    n = n + 1
    parts[n] = changed[place]
    from = at + ENTRY
  end
  parts[n + 1] = sub(bytes, from)
  return table.concat(parts)
end
