-- Reservations with a record of their own, by id; and what must look at lots and records alike. Much of it is needed by
-- few calls: to define it costs the upstream more than a reservation does, so it is defined where it is needed.
--
-- A record is "state quantity made expires forget token commit-token length:sku:reference": times in unix ms, forget 0
-- while open, '-' for no token, length the SKU's. States as of lots, but for m and -.
-- A reservation holds stock while its state is o, also when it is overdue; giving back and leaving o are one step.
local holds = {}           -- id -> record as a table, a string not decoded yet, or false
local holds_forgotten = {}
local hold_of, hold_end, hold_give_back, hold_expire, hold_record, hold_make, hold_move, hold_extend, flush_records
local lot_place, lot_own_id

local DIGITS = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz'

local function holds_read(ids, n)
  for from = 1, n, PAGE do
    local to = from + PAGE - 1
    if to > n then to = n end
    local records = call('HMGET', KEY_HOLDS, unpack(ids, from, to))
    for i = from, to do
      local id = ids[i]
      if holds[id] == nil then holds[id] = records[i - from + 1] end
    end
  end
end

-- The SKU in a record's bytes.
local function hold_sku(bytes)
  local length, at = match(bytes, '^%a %d+ %d+ %d+ %d+ %S+ %S+ (%d+):()')
  return sub(bytes, at, at + length - 1)
end

-- Returns what stands under the first one, where that is read.
local function lots_read(ids, n)
  local first
  for from = 1, n, PAGE do
    local to = from + PAGE - 1
    if to > n then to = n end
    local bytes = call('HMGET', KEY_LOTS, unpack(ids, from, to))
    for i = from, to do
      local id = ids[i]
      if #id > LOT_ID then
        logs[id] = logs[id] or bytes[i - from + 1] or ''
      elseif lots[id] == nil then
        lots[id] = lot_decode(bytes[i - from + 1])
      end
    end
    if from == 1 then first = bytes[1] end
  end
  return first
end

local function define_records()
  if hold_of then return end
  local holds_changed, holds_new, holds_new_n = {}, {}, 0

  -- The lot and the place that a minted id names; nil for any other id.
  lot_place = function(id)
    if #id ~= LOT_ID + 3 then return nil end
    local place = 0
    for i = LOT_ID + 1, LOT_ID + 3 do
      local digit = string.find(DIGITS, sub(id, i, i), 1, true)
      if not digit then return nil end
      place = place * 62 + digit - 1
    end
    return sub(id, 1, LOT_ID), place
  end

  lot_own_id = function(lot_id, place)
    local function digit(value) return sub(DIGITS, value + 1, value + 1) end
    return lot_id .. digit(floor(place / 3844)) .. digit(math.floor(place / 62) % 62) .. digit(place % 62)
  end

  local function hold_decode(bytes)
    local state, quantity, made, expires, forget, token, commit_token, length, at =
      match(bytes, '^(%a) (%d+) (%d+) (%d+) (%d+) (%S+) (%S+) (%d+):()')
    return { state = state, sku = sub(bytes, at, at + length - 1), quantity = quantity + 0, made = made + 0,
      expires = expires + 0, forget = forget + 0, token = token, commit_token = commit_token,
      reference = sub(bytes, at + length + 1) }
  end

  local function hold_encode(h)
    return h.state .. format(' %.0f %.0f %.0f %.0f ', h.quantity, h.made, h.expires, h.forget) .. h.token .. ' '
      .. h.commit_token .. ' ' .. open_prefix(h.sku) .. h.reference
  end

  -- From here on the reservation holds no stock.
  hold_end = function(id, h, state)
    if h.lot then
      entry_end(h.lot_id, h.lot, h.place, state, h.commit_token)
      return
    end
    open_unset('h', id, h.sku, h.expires)
    h.state, h.forget = state, now + remember_ms
    ended_set('h' .. id, h.forget)
    holds_changed[id] = true
    stock_changed[h.sku] = true
  end

  hold_give_back = function(id, h, state)
    local s = stock_of(h.sku)
    s.available, s.reserved = s.available + h.quantity, s.reserved - h.quantity
    hold_end(id, h, state)
  end

  hold_expire = function(id, h)
    hold_give_back(id, h, 'x')
    h.state = 'x'
    expired_count = expired_count + 1
  end

  -- The record, whatever its state and age, or false.
  hold_record = function(id)
    local h = holds[id]
    if h == nil then h = call('HGET', KEY_HOLDS, id) end
    if type(h) == 'string' then h = hold_decode(h) end
    holds[id] = h
    return h
  end

  -- What a lot has of this id, or nil: it is none of a lot's, or moved.
  local function hold_in_lot(id)
    local lot_id, place = lot_place(id)
    local lot = lot_id and lot_of(lot_id)
    if not lot then return nil end
    local state, ended, token = entry_of(lot_id, lot, place)
    if not state or state == '-' or state == 'm' then return nil end
    if state ~= 'o' and ended + remember_ms <= now then return false end
    return { lot = lot, lot_id = lot_id, place = place, state = state, sku = lot.sku,
      quantity = entry_quantity(lot, place), made = lot.made, expires = lot.expires, forget = 0, token = '-',
      commit_token = token, reference = '' }
  end

  -- The reservation as it is now, or false: not known, or remembered long enough.
  hold_of = function(id)
    local h = hold_in_lot(id)
    if h == false then return false end
    if not h then
      h = hold_record(id)
      if not h then return false end
      if h.state ~= 'o' and h.forget <= now then return false end
    end
    if h.state == 'o' and h.expires <= now then hold_expire(id, h) end
    return h
  end

  -- An open one gets a record of its own, for a lot has no room for what comes.
  hold_move = function(id, h)
    if not h.lot then return h end
    -- The lot says where the reservation is for as long as that may be asked for.
    entry_end(h.lot_id, h.lot, h.place, 'm', NO_TOKEN)
    h.lot, h.commit_token = nil, '-'
    holds[id] = h
    holds_changed[id] = true
    return h
  end

  hold_extend = function(id, h, expires)
    if h.lot then hold_move(id, h) else open_unset('h', id, h.sku, h.expires) end
    h.expires = expires
    open_set('h', id, h.sku, expires)
    holds_changed[id] = true
  end

  -- A record that this call makes, open; what was there of its name gives way.
  hold_make = function(id, quantity, sku, expires, token)
    if holds[id] then ended_removed['h' .. id] = true end
    local record = 'o ' .. quantity .. format(' %.0f %.0f 0 ', now, expires) .. token .. ' - ' .. open_prefix(sku)
    holds[id] = record
    holds_new[holds_new_n + 1], holds_new[holds_new_n + 2] = id, record
    holds_new_n = holds_new_n + 2
    open_set('h', id, sku, expires)
  end

  -- What was made and then changed by this call is written twice, the last time as it is now.
  flush_records = function()
    write('HDEL', KEY_HOLDS, holds_forgotten, #holds_forgotten)
    write('HSET', KEY_HOLDS, holds_new, holds_new_n)
    local changed, n = {}, 0
    for id in pairs(holds_changed) do
      local h = holds[id]
      if type(h) == 'table' then
        changed[n + 1], changed[n + 2] = id, hold_encode(h)
        n = n + 2
      end
    end
    write('HSET', KEY_HOLDS, changed, n)
  end
end
