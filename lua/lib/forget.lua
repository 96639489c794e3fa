-- Records that were remembered long enough.
local function forget(member)
  local kind, name = sub(member, 1, 1), sub(member, 2)
  if kind == 'h' then
    holds_forgotten[#holds_forgotten + 1] = name
  elseif kind == 'l' then
    lots_forgotten[#lots_forgotten + 1] = name
    local lot = #name == LOT_ID and lot_of(name)
    for index = 0, lot and lot.last or -1 do lots_forgotten[#lots_forgotten + 1] = name .. char(index) end
  else
    ops_forgotten[#ops_forgotten + 1] = name
  end
  ended_removed[member] = true
end
